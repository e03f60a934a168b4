/* What an emulated board needs to start: the table of vectors, and what stands before main. On a real board its own
   start-up code takes this place. */
#include <stdint.h>
#include <stdlib.h>

extern uint32_t stack_top, data_source, data_start, data_end, bss_start, bss_end;
extern void initialise_monitor_handles(void); /* printf by semihosting */
int main(void);

void reset(void);
void reset(void)
{
    const uint32_t *source = &data_source;
    for (uint32_t *to = &data_start; to < &data_end; to++)
        *to = *source++;
    for (uint32_t *to = &bss_start; to < &bss_end; to++)
        *to = 0;
    initialise_monitor_handles();
    exit(main());
}

static void stop(void)
{
    exit(99);
}

typedef void (*handler)(void);
__attribute__((section(".vectors"), used)) static const struct { uint32_t *stack; handler handlers[15]; } vectors = {
    &stack_top, {reset, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop}
};
