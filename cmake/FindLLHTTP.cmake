# llhttp::llhttp, from wherever the distribution keeps it:
#   Debian 13, Ubuntu 24.04   libllhttp-dev, by its CMake package or pkg-config
#   Debian 12                 node-llhttp ships the generated C, which we compile in strict mode:
#                             its default grammar lets request smuggling through
# LLHTTP_ROOT points at an unpacked node-llhttp package where it is not installed.
include(FindPackageHandleStandardArgs)

if(NOT TARGET llhttp::llhttp)
  find_package(llhttp CONFIG QUIET)
  pkg_check_modules(PC_LLHTTP QUIET IMPORTED_TARGET GLOBAL libllhttp)
  find_path(LLHTTP_SOURCE_DIR llhttp.c PATHS ${LLHTTP_ROOT}/share/llhttp /usr/share/llhttp
            NO_DEFAULT_PATH)
  find_path(LLHTTP_INCLUDE_DIR llhttp.h
            PATHS ${LLHTTP_ROOT}/share/include/llhttp /usr/share/include/llhttp NO_DEFAULT_PATH)
  if(TARGET llhttp::llhttp_shared)
    add_library(llhttp::llhttp ALIAS llhttp::llhttp_shared)
  elseif(PC_LLHTTP_FOUND)
    add_library(llhttp::llhttp ALIAS PkgConfig::PC_LLHTTP)
  elseif(LLHTTP_SOURCE_DIR AND LLHTTP_INCLUDE_DIR)
    add_library(llhttp_strict STATIC ${LLHTTP_SOURCE_DIR}/llhttp.c ${LLHTTP_SOURCE_DIR}/api.c
                                     ${LLHTTP_SOURCE_DIR}/http.c)
    target_include_directories(llhttp_strict SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
    target_compile_definitions(llhttp_strict PUBLIC LLHTTP_STRICT_MODE=1)
    # generated code: neither our warnings nor our linter have a say in it
    target_compile_options(llhttp_strict PRIVATE -w)
    set_target_properties(llhttp_strict PROPERTIES C_CLANG_TIDY "")
    add_library(llhttp::llhttp ALIAS llhttp_strict)
  endif()
endif()
if(TARGET llhttp::llhttp)
  set(LLHTTP_TARGET llhttp::llhttp)
endif()
find_package_handle_standard_args(LLHTTP REQUIRED_VARS LLHTTP_TARGET REASON_FAILURE_MESSAGE
  "install libllhttp-dev (Debian 13, Ubuntu 24.04) or node-llhttp (Debian 12), as deploy/deps does")
