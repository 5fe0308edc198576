# fish completion for surftrace: `surftrace completion fish | source`, or as surftrace.fish in ~/.config/fish/completions.

function __surftrace_complete
    set -l line (commandline -cp | string collect)
    set -l found (command surftrace completion fish -- $line < /dev/null 2> /dev/null)
    switch "$found[1]"
        case files
            __fish_complete_path (commandline -ct)
        case folders
            __fish_complete_directories (commandline -ct)
        case '*'
            string join \n -- $found[2..]
    end
end

complete -c surftrace -f -a '(__surftrace_complete)'
