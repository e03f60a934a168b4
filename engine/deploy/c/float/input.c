/* Normalisation. */
static void read_input(const source *image, value *x)
{
    for (int k = 0; k < @pixels@; k++)
        for (int c = 0; c < @channels@; c++)
            *x++ = (float)*image++ * input_scale[c] + input_shift[c];
}
