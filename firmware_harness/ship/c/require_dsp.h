#if !defined(__ARM_FEATURE_DSP) || !__ARM_FEATURE_DSP
#error "exported with --cpu dsp: compile for a processor with DSP instructions, such as -mcpu=cortex-m4"
#endif
