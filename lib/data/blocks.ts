// How much readers of files hand over at a time: many rows of most data, and no burden to the event loop
// that receives them.
const mostRows = 8192;
const mostCells = 2 ** 17;
const mostBytes = 2 ** 20;

/** Of the file: a block of long texts ends behind so many of them, however few its rows are. */
export const mostTextBytes = 2 ** 22;

/** Rows of a block of a table with so many columns. */
export const tableRows = (columns: number): number => atMost(mostCells / Math.max(1, columns));

/** Rows of a block of numbers of which a row takes so many bytes. */
export const tensorRows = (rowBytes: number): number => atMost(mostBytes / Math.max(1, rowBytes));

const atMost = (rows: number): number => Math.max(1, Math.min(mostRows, Math.floor(rows)));
