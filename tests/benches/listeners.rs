//! Records through template, broker, container and handler: not built yet.

fn main() {
    println!("the listeners benchmark is not built yet; `cargo bench -p integration-tests --bench handler` measures a call");
}
