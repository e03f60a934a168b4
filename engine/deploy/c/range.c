/* Of a window that starts at `start`, the first row on the map, and the row behind the last; columns alike. */
static int first_of(int start)
{
    return start < 0 ? -start : 0;
}

static int last_of(int start, int window, int size)
{
    return start + window > size ? size - start : window;
}
