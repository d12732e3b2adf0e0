//! The migrations are built into the program, so a changed one means a new build.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
