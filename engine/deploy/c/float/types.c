typedef float value;  /* of tensors */
typedef float weight;
typedef float total;  /* sums of products */
#define ZERO(l) 0.0f
#define LOWEST (-INFINITY) /* value */
#define LEAST (-INFINITY) /* total */
