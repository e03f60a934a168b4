/* The nearest of 256 values, by channel. */
static void read_input(const source *signal, value *x)
{
    for (int k = 0; k < @pixels@; k++)
        for (int c = 0; c < @channels@; c++) {
            const float product = *signal++ * input_scale[c];
            const float step = product + input_shift[c]; /* halves up, from -128 on */
            *x++ = (value)(step <= 0.0f ? -128 : step >= 255.0f ? 127 : (int)step - 128);
        }
}
