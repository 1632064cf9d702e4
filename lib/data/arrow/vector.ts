/** What is used of a column of apache-arrow. */
export interface Vector {
  readonly length: number;
  readonly nullCount: number;
  readonly data: readonly Part[];
  get(index: number): unknown;
}

/** Memory of a column. */
interface Part {
  readonly length: number;
  readonly typeId: number;
  readonly values?: { readonly length: number };
  readonly valueOffsets?: { readonly length: number };
  readonly children: readonly Part[];
}

/** The type of values eight of which are in a byte. */
const bool = 6;

/** Rows that a column has memory for at most; of a type without any those that it is said to have. */
export const mostRows = ({ data }: Vector): number =>
  data.reduce((sum, part) => sum + rowsOf(part), 0);

function rowsOf({ length, typeId, values, valueOffsets, children }: Part): number {
  if (valueOffsets) return valueOffsets.length;
  if (values) return values.length * (typeId === bool ? 8 : 1);
  const [first] = children;
  return first ? rowsOf(first) : length;
}
