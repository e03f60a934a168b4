/* Runs @name@_predict on @count@ test images and compares with what lenumba gives. */
#include "@name@.h"
#include <math.h>
#include <stdio.h>

static const @source@ images[@count@][@size@] = {
@images@};

static const float expected[@count@][@outputs@] = {
@expected@};

int main(void)
{
    int good = 0;
    for (int n = 0; n < @count@; n++) {
        float found[@outputs@];
        int near = 0;
        @name@_predict(images[n], found);
        for (int k = 0; k < @outputs@; k++)
            near += fabsf(found[k] - expected[n][k]) <= @tolerance@;
        good += near == @outputs@;
    }
    printf("%d of @count@ images as expected\n", good);
    return good != @count@;
}
