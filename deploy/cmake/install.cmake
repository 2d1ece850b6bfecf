# cmake --install: the programs, their manual pages and the command's completions. The pages and the
# completions are printed by the programs themselves, from the tables that they work by.
include(GNUInstallDirs)

set(printed ${CMAKE_BINARY_DIR}/printed)
file(MAKE_DIRECTORY ${printed})
# printed_file(NAME PROGRAM WORD...): what the program prints for these words.
function(printed_file name program)
    add_custom_command(OUTPUT ${printed}/${name} COMMAND ${program} ${ARGN} > ${printed}/${name}.new
        COMMAND ${CMAKE_COMMAND} -E rename ${printed}/${name}.new ${printed}/${name}
        DEPENDS ${program} VERBATIM)
    set_property(GLOBAL APPEND PROPERTY HOLDFAST_PRINTED ${printed}/${name})
endfunction()
printed_file(holdfast.1 holdfast help --man)
printed_file(holdfast-scheduler.8 holdfast-scheduler --help=man)
printed_file(holdfast-worker.8 holdfast-worker --help=man)
foreach(shell bash zsh fish)
    printed_file(holdfast.${shell} holdfast completion ${shell})
endforeach()
get_property(files GLOBAL PROPERTY HOLDFAST_PRINTED)
add_custom_target(printed ALL DEPENDS ${files})

install(TARGETS holdfast RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS holdfast-scheduler holdfast-worker RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
install(FILES ${printed}/holdfast.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${printed}/holdfast-scheduler.8 ${printed}/holdfast-worker.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES ${printed}/holdfast.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME holdfast)
install(FILES ${printed}/holdfast.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _holdfast)
install(FILES ${printed}/holdfast.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
