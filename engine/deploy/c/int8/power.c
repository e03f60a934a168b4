/* e to the power of -scale * steps, steps from 0 to 255: the product of its parts, the same bits everywhere. */
static float power(int steps)
{
    float product = 1.0f;
    for (int bit = 0; bit < 8; bit++)
        if (steps >> bit & 1)
            product *= powers[bit];
    return product;
}
