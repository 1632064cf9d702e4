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
  const int32_t* sums;  // of the columns of B
  int32_t a_zero;
  float c_inverse, c_low, c_high;  // bounds of value * c_inverse
  int32_t c_zero;
};

using MicroKernel = void (*)(const MicroArgs&);

struct GemmKernels {
  const char* name;
  bool (*available)();
  GemmType type;
  int group;        // elements of A and B in a word
  int k_step;       // words that k is filled up to a multiple of
  int a_word;       // bytes of a word of A as the kernel reads it
  int b_word;       // the same of B
  bool a_in_place;  // A need not be copied if it is made of whole words
  bool a_panels;    // reads a packed A with any strides, otherwise as rows
  // Rows of a panel, and the rows that kernels of 4 and of 8 vectors of columns serve.
  int panel_rows, wide4_rows, wide8_rows;
  // [4][panel_rows], by width (1, 2, 4 and 8 vectors) and rows. A width of 1 loads only the columns
  // that exist if the family reads B in place, the others load all of their columns.
  const MicroKernel* micro;
  void (*begin)();  // on a thread before the kernels of a tile, and after them; may be null
  void (*end)();
};

}  // namespace tandem::cpu
