/**
 * Whether more of a number is better, by its name; `val` and an output's name may stand before it. `top3` and
 * the like are what topKAccuracy is called where there are several.
 */
export const largerIsBetter = (name: string): boolean =>
  /(accuracy|precision|recall|f1|auc|r2)$/i.test(name) || /(^t|_t|T)op\d+$/.test(name);
