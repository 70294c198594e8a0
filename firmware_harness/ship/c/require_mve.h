#if !defined(__ARM_FEATURE_MVE) || !__ARM_FEATURE_MVE
#error "exported with --cpu mve: compile for a processor with Helium, such as -mcpu=cortex-m55"
#endif
