    float share;                /* what a sum is multiplied by: 1, or for a mean of n sums 1/n */
    float low, high;            /* limits of the output: its activation */
