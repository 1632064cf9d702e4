// What compressed data of a file may become: some codecs make 128 KiB of four bytes, so that a file of a
// megabyte could ask for 32 GiB.

/** What is always read. */
export const usualMost = 2 ** 30;
const mostPerByte = 64;

/** What so many bytes of a file may become. */
export const mostOf = (bytes: number): number => Math.max(usualMost, mostPerByte * bytes);
