    const int32_t *multipliers; /* a sum counts multiplier * 2^(shift - 31) steps of the output */
    const int8_t *shifts;
    int rounds_once;            /* how TensorFlow Lite rounds after dense layers */
    int zero, other_zero;       /* the values that stand for 0: of the input, of a sum's second input */
    int out_zero;               /* of the output */
    int low, high;              /* limits of the output: its activation */
