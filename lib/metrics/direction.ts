/** Whether more of a number is better, by its name; `val` and an output's name may stand before it. */
export const largerIsBetter = (name: string): boolean =>
  /(accuracy|precision|recall|f1|auc|r2)$/i.test(name);
