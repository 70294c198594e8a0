# SPDX-License-Identifier: Apache-2.0
# The library tinyscene::@{prefix}, and @{prefix}_seal.
add_library(@{prefix} STATIC src/@{prefix}.c)
add_library(tinyscene::@{prefix} ALIAS @{prefix})
target_include_directories(@{prefix} PUBLIC include)
target_compile_features(@{prefix} PRIVATE c_std_99)
# A fused multiply-add rounds once where the result needs two roundings. Without a build type, -O2 is the default.
target_compile_options(@{prefix} PRIVATE -ffp-contract=off $<$<CONFIG:>:-O2>)
target_link_libraries(@{prefix} PUBLIC m)

# Call @{prefix}_seal(TARGET) for your executable: after it is linked, a checksum of its code and constants is stored in it,
# which @{prefix}_init and @{prefix}_check_step compare. For ELF images of microcontrollers, with GNU or LLVM binutils.
set(@{prefix}_seal_script ${CMAKE_CURRENT_LIST_DIR}/seal.cmake CACHE INTERNAL "")
function(@{prefix}_seal target)
  add_custom_command(TARGET ${target} POST_BUILD VERBATIM COMMAND ${CMAKE_COMMAND} -DIMAGE=$<TARGET_FILE:${target}>
    -DOBJCOPY=${CMAKE_OBJCOPY} -DOBJDUMP=${CMAKE_OBJDUMP} -P ${@{prefix}_seal_script})
endfunction()
