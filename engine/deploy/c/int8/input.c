/* Pixels as they are: normalisation lies in the scale and in the first layer's weights. */
static void read_input(const source *image, value *x)
{
    for (int k = 0; k < @size@; k++)
        x[k] = (value)(image[k] - 128);
}
