// A family of register kernels of the matrix product: what the blocking needs to know of it. Plain
// data, for the reason given in gemm.h.
#pragma once

#include "cpu/gemm.h"

namespace tandem::cpu {

// One piece of C in registers: M rows, N vectors of columns, summed over k. Strides count bytes.
struct MicroArgs {
  const char* a;
  int64_t a_row, a_k;
  const char* b;  // vectors 2i and 2i+1 of a row of B start at b + i * b_pair
  int64_t b_pair, b_k;
  int64_t k;  // words
  // One more step of A, where its words would end behind a row, or null; and words that it goes
  // back in B, where A is zero because they have been multiplied.
  const char* tail;
  int64_t tail_row, tail_back;
  const char* earlier;  // GemmKernels::keeps_sums: sums of the words before these; or null
  char* later;          // where sums wait for the words behind these; null: they are complete
  void* state;          // GemmKernels::state_bytes of it
  const char* next;     // lines that come into the L2 meanwhile, one with every word of k
  int64_t next_k;
  char* c;
  int64_t c_row;
  GemmElement c_type;
  bool add_bf16;    // type of `add`: bfloat16, otherwise float
  const char* add;  // earlier sum or residual; or null
  int64_t add_row;
  const float* bias;  // of these columns; or null
  float floor;        // 0 for relu, -infinity otherwise
  int rows;
  int columns;  // of the N vectors, those that exist

  // GEMM_S8, see GemmEpilogue; pointers are those of these rows and columns.
  const float* scale;
  const float* row_scale;
  const int32_t* row_zero;
  const int32_t* column_zero;
  const int32_t* row_sums;
  const int32_t* sums;        // of the columns of B
  const int16_t* short_sums;  // instead; or null
  int32_t a_zero;
  float c_inverse, c_low, c_high;  // bounds of value * c_inverse
  int32_t c_zero;
};

using MicroKernel = void (*)(const MicroArgs&);

// Columns of float operands that are read together and go to panels of their own.
struct GemmStrip {
  int64_t panels;
  int64_t columns;             // of each
  int64_t out_row, out_panel;  // bytes between its rows of words, and between panels
};

// Operands in float as words of a pair of bfloat16 each, rounded to nearest even. Strides of x
// count floats, those of words bytes. Elements of x that do not exist are zero in words that do.
struct GemmRounding {
  // Word w of row i is made of elements 2w and 2w+1 of row i, of which there are `k`.
  void (*along_rows)(const float* x, int64_t x_row, int64_t rows, int64_t k, int64_t words,
                     char* out, int64_t out_row);
  // Word j of row w of a panel is made of elements j of the rows 2w and 2w+1, of which there are
  // `k`. Writes whole vectors. One panel may lie where x does, its rows as far apart.
  void (*across_rows)(const float* x, int64_t x_row, int64_t k, int64_t words, char* out,
                      const GemmStrip& strip);
  // along_rows for at most a vector of rows, transposed: row w holds word w of each of them. Writes
  // whole vectors.
  void (*transposed)(const float* x, int64_t x_row, int64_t rows, int64_t k, int64_t words,
                     char* out, int64_t out_row);
  // across_rows for at most a vector of columns and a vector of words, transposed: row j holds
  // word j of each row of words. Writes whole vectors.
  void (*square)(const float* x, int64_t x_row, int64_t columns, int64_t k, char* out,
                 int64_t out_row);
};

struct GemmKernels {
  const char* name;
  bool (*available)();
  GemmType type;
  int group;              // elements of A and B in a word
  int k_step;             // words of k that it multiplies at a time
  bool fills_k;           // whether zeros fill up a packed B to a multiple of those
  double steps_per_word;  // time to multiply a word, by the time of a float
  int a_word;             // bytes of a word of A as the kernel reads it
  int b_word;             // the same of B
  bool a_in_place;        // A need not be copied if it is made of whole words
  bool a_panels;          // reads a packed A with any strides, otherwise as rows
  // For GemmDesc::from_float; of GEMM_BF16, or of GEMM_F32 that splits.
  const GemmRounding* rounding;
  // Rows of a panel, and the rows that kernels of 4 and of 8 vectors of columns serve.
  int panel_rows, wide4_rows, wide8_rows;
  int best_rows;    // of the panels of many rows, panel_rows or fewer
  int row_unit;     // multiplies so many rows at a time; more than 1: of tiles of a packed A
  bool splits;      // multiplies floats as sums of bfloat16, which packing makes of them
  bool keeps_sums;  // sums wait in scratch between steps of k, without the epilogue
  // [4][panel_rows], by width (1, 2, 4 and 8 vectors) and rows. A width of 1 loads only the columns
  // that exist if the family reads B in place, the others load all of their columns.
  const MicroKernel* micro;
  // [4][kAlikeRows], the same for products whose rows are summed as each alone would be; or null.
  const MicroKernel* alike;
  // Products of at most so many rows are those of another family, which reads the same packed B,
  // and so are products of less than a step of k.
  int few_rows;
  const GemmKernels* for_few_rows;
  int64_t state_bytes;  // of what kernels keep from piece to piece: their epilogues may be late
  // On a thread before the kernels of a tile; for what needs the words of A before others take
  // their place; for all late epilogues; and behind them. May be null.
  void (*begin)(void* state);
  void (*settle)(void* state);
  void (*flush)(void* state);
  void (*end)();
};

}  // namespace tandem::cpu
