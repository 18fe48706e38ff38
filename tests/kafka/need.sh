# Sourced by what needs Java and Maven to run Kafka's scripts: `need_kafka WHAT` installs them where that is ours to do (as root
# with CI set), and otherwise ends the script, saying that WHAT was skipped.
. tests/apt.sh
have_java() { command -v java >/dev/null && command -v mvn >/dev/null; }

need_kafka() {
    have_java || apt_install openjdk-17-jre-headless maven || true
    have_java || { echo "$1: SKIPPED, it needs Java 17 or newer and Maven"; exit 0; }
}
