# bash completion for surftrace: `source <(surftrace completion bash)`.

_surftrace() {
    local LC_ALL=C  # COMP_POINT counts bytes
    local -a found
    mapfile -t found < <(
        command surftrace completion bash -- "${COMP_LINE:0:COMP_POINT}" "$2" "$COMP_TYPE" < /dev/null 2> /dev/null
    )
    COMPREPLY=("${found[@]:1}")
    case ${found[0]} in
        files) compopt -o default ;;
        folders) compopt -o dirnames ;;
        open) compopt -o nospace ;;
    esac
}

complete -F _surftrace surftrace
