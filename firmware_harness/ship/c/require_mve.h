#if !defined(__ARM_FEATURE_MVE) || !__ARM_FEATURE_MVE
#error "exported with --cpu mve: compile for a processor with Helium, such as -mcpu=cortex-m55"
#endif
#ifdef __ARM_BIG_ENDIAN
#error "exported with --cpu mve: for little-endian processors; export with --cpu c99"
#endif
