/* io.h - the files of other programs: JSON, HDF5, safetensors, GGUF. Every length and offset that a
 * file states is checked before it is used; an error names the file and the place. */
#ifndef PX_IO_H
#define PX_IO_H

#include "gguf.h"
#include "h5.h"
#include "json.h"
#include "safetensors.h"
#include "tensor.h"

#endif
