# Adds core.cpp to a target, compiled once per instruction set; run.cpp takes the best at run time.
#
# Products and sums are not contracted: coordinates must round as the reference's do, and results then
# do not depend on the instruction set.
set(arithmetic -fno-math-errno -fno-trapping-math -ffp-contract=off -fno-exceptions -fno-rtti
  -Wall -Wextra)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND arithmetic -Wno-psabi)  # vectors stay within a file
endif()

function(add_instruction_sets target)
  target_compile_features(${target} PRIVATE cxx_std_17)
  target_compile_options(${target} PRIVATE ${arithmetic})
  set(avx2 -O3 -mavx2 -mfma -mf16c)
  set(avx512 ${avx2} -mavx512f -mavx512dq -mavx512bw -mavx512vl -mprefer-vector-width=512)
  set(names baseline wide)
  set(baseline -O3)
  set(wide -O2)  # what few calls run is compiled in less time
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(APPEND names avx2 avx512)
    set(baseline -O2)
    target_compile_definitions(${target} PRIVATE STN_X86)
  endif()
  foreach(name ${names})
    set(offset int32_t)
    if(name STREQUAL "wide")  # planes of 2^30 values and more
      set(offset int64_t)
    endif()
    add_library(${target}_${name} OBJECT core.cpp)
    target_compile_features(${target}_${name} PRIVATE cxx_std_17)
    target_compile_options(${target}_${name} PRIVATE ${arithmetic} ${${name}})
    target_compile_definitions(
      ${target}_${name} PRIVATE STN_ISA=stn_${name} STN_INDEX=${offset})
    set_target_properties(${target}_${name} PROPERTIES
      POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${name}>)
  endforeach()
endfunction()
