typedef int8_t value;  /* of tensors: stands for scale * (value - zero) */
typedef int8_t weight; /* stands for scale * weight, with a scale for each map */
typedef int32_t total; /* sums of products */
#define ZERO(l) ((l)->zero)
#define LOWEST INT8_MIN /* value */
#define LEAST INT32_MIN /* total */
