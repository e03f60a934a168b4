/* Normalisation: one of 256 values for each byte, by channel. */
static void read_input(const source *image, value *x)
{
    for (int k = 0; k < @pixels@; k++)
        for (int c = 0; c < @channels@; c++)
            *x++ = input_table[c][*image++];
}
