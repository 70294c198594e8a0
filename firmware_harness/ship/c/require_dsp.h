#if !defined(__ARM_FEATURE_DSP) || !__ARM_FEATURE_DSP
#error "exported with --cpu dsp: compile for a processor with DSP instructions, such as -mcpu=cortex-m4"
#endif
#ifdef __ARM_BIG_ENDIAN
#error "exported with --cpu dsp: for little-endian processors; export with --cpu c99"
#endif
