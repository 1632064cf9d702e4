// Whether large products of floats go through tile registers.
#pragma once

namespace tandem::cpu {

/// Where a processor has AMX, large products of floats are made of six products of bfloat16 (see
/// extensions/split_float.h), unless TANDEM_FLOAT_TILES is 0: on machines whose cores are shared
/// with busy neighbours tiles have been found half as fast. Nobody measures that here, since the
/// two ways differ in bits. Throws ERR_DEVICE where the variable is neither 0 nor 1.
bool float_tiles();

}  // namespace tandem::cpu
