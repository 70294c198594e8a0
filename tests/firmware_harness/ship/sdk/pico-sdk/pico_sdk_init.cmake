# The functions of the Pico SDK that the example's project calls. The header of a PIO program has its declarations only.
set(sdk_folder ${CMAKE_CURRENT_LIST_DIR})

function(pico_sdk_init)
  foreach(library pico_stdlib hardware_adc hardware_dma hardware_irq hardware_pio)
    add_library(${library} INTERFACE)
    target_include_directories(${library} INTERFACE ${sdk_folder}/include)
  endforeach()
endfunction()

function(pico_generate_pio_header target pio)
  if(NOT EXISTS ${pio})
    message(FATAL_ERROR "${pio}: missing")
  endif()
  file(READ ${pio} text)
  string(REGEX MATCH "\n\\.program ([a-z0-9_]+)\n" program "${text}")
  get_filename_component(name ${pio} NAME)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${name}.h "#include \"hardware/pio.h\"
extern const pio_program_t ${CMAKE_MATCH_1}_program;
pio_sm_config ${CMAKE_MATCH_1}_program_get_default_config(uint offset);\n")
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
endfunction()

function(pico_enable_stdio_usb target enabled)
  target_link_libraries(${target} PRIVATE pico_stdlib)
endfunction()

function(pico_enable_stdio_uart target enabled)
  target_link_libraries(${target} PRIVATE pico_stdlib)
endfunction()

function(pico_add_extra_outputs target)
  add_custom_command(TARGET ${target} POST_BUILD COMMAND ${CMAKE_COMMAND} -E touch ${target}.uf2)
endfunction()
