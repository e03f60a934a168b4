struct shape { int height, width, channels; };
struct window { int height, width, down, right, top, left; }; /* its size, its steps, the padding before it */

/* A layer. Tensors lie row by row, pixel by pixel, the channels of a pixel side by side. */
struct layer {
    struct shape in, out;       /* out: behind the pooling */
    struct window window;       /* a convolution's or a pooling's */
    struct window pool;         /* of the pooling behind a convolution; 1x1 where there is none */
    int takes_largest;          /* whether that pooling takes the largest sum, not the mean */
    total least;                /* what a mean takes smaller sums for: 0 behind a ReLU */
    int counts_padding;         /* whether a mean counts what lies beyond the edges, as zeros */
    int group_maps;             /* a convolution's groups: so many maps see so many channels */
    int group_channels, map_weights;
    const weight *weights;
    const total *biases;
@fields@};
