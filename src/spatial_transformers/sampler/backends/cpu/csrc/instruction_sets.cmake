# Adds forward.cpp, backward.cpp, wide.cpp, antialias.cpp, filter.cpp and flow.cpp to a target, compiled
# once per instruction set and per type that is computed with, side by side; run.cpp takes the best set
# at run time.
#
# Products and sums are not contracted: coordinates must round as the reference's do, and results then
# do not depend on the instruction set.
set(arithmetic -fno-math-errno -fno-trapping-math -ffp-contract=off -fno-exceptions -fno-rtti
  -Wall -Wextra)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND arithmetic -Wno-psabi)  # vectors stay within a file
  # What the loops need of -O3 without its unrolling, which takes a third of the time of compiling and
  # makes float32 a tenth faster, but float64 hardly.
  set(vectors -fvect-cost-model=dynamic -funswitch-loops -fgcse-after-reload -ftree-partial-pre
    -fpredictive-commoning -fsplit-loops -fsplit-paths -fversion-loops-for-strides -fipa-cp-clone)
endif()

function(add_instruction_sets target)
  target_compile_features(${target} PRIVATE cxx_std_17)
  target_compile_options(${target} PRIVATE ${arithmetic})
  set(float -O3)
  set(double -O2 ${vectors})
  set(avx2 -mavx2 -mfma -mf16c)
  set(avx512 ${avx2} -mavx512f -mavx512dq -mavx512bw -mavx512vl -mprefer-vector-width=512)
  set(baseline -O2)  # runs on any machine, with offsets for planes of 2^30 values and more
  set(narrow "")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(names baseline avx2 avx512)
    target_compile_definitions(${target} PRIVATE STN_X86)
  else()
    set(names baseline narrow)
  endif()
  foreach(name ${names})
    set(offset int32_t)
    if(name STREQUAL "baseline")
      set(offset int64_t)
    endif()
    foreach(pass wide backward forward antialias filter flow)
      foreach(real float double)
        set(object ${target}_${name}_${pass}_${real})
        add_library(${object} OBJECT ${pass}.cpp)
        target_compile_features(${object} PRIVATE cxx_std_17)
        target_compile_options(${object} PRIVATE ${arithmetic} ${${real}} ${${name}})
        target_compile_definitions(
          ${object} PRIVATE STN_ISA=stn_${name} STN_INDEX=${offset} STN_REAL=${real})
        set_target_properties(${object} PROPERTIES
          POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)
        target_sources(${target} PRIVATE $<TARGET_OBJECTS:${object}>)
      endforeach()
    endforeach()
  endforeach()
endfunction()
