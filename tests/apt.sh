# Sourced: `apt_install PACKAGE...` installs Debian packages, only where that is ours to do, as root with CI set; scripts that run
# side by side wait for one another.
apt_install() {
    [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    mkdir -p target
    flock target/apt.lock sh -c 'apt-get update -qq && apt-get install -y -qq "$@" >/dev/null' apt "$@"
}
