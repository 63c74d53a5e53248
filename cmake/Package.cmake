# The Debian package: `cpack --config build/release/CPackConfig.cmake` (wants dpkg-dev).
#
# deploy/debian has what dpkg runs and what lintian wants; the unit is the one of deploy/systemd.
include(GNUInstallDirs)
set(doc share/doc/sallyport)
set(packaging ${PROJECT_SOURCE_DIR}/deploy/debian)

foreach(page changelog sallyport.8)
  add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/${page}.gz
    COMMAND gzip -9nc ${packaging}/${page} > ${PROJECT_BINARY_DIR}/${page}.gz
    DEPENDS ${packaging}/${page} VERBATIM)
endforeach()
add_custom_target(pages ALL DEPENDS ${PROJECT_BINARY_DIR}/changelog.gz ${PROJECT_BINARY_DIR}/sallyport.8.gz)

install(TARGETS sallyport RUNTIME DESTINATION sbin)
install(FILES deploy/systemd/sallyport.service DESTINATION lib/systemd/system)
install(FILES deploy/sallyport.yaml DESTINATION /etc/sallyport)
install(FILES README.md events/SCHEMA.md deploy/RUNTIMES.md ${packaging}/copyright
        ${PROJECT_BINARY_DIR}/changelog.gz DESTINATION ${doc})
install(DIRECTORY deploy/policies DESTINATION ${doc})
install(FILES ${PROJECT_BINARY_DIR}/sallyport.8.gz DESTINATION share/man/man8)
install(FILES ${packaging}/lintian-overrides DESTINATION share/lintian/overrides RENAME sallyport)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_CONTACT "the Sallyport authors <maintainers@sallyport.io>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "shows what programs say over encrypted connections")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "A node agent that steers the connections of registered workloads to a
proxy on the same host, ends their TLS, and tells each process, look-up,
connection and request.
.
Workloads are cgroups: pods of Kubernetes, containers, units, commands.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS ca-certificates)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${packaging}/postinst ${packaging}/prerm ${packaging}/postrm
    ${packaging}/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_STRIP_FILES ON)
include(CPack)
