//! What the fuzz targets and the program that makes their seeds share.

mod allocated;
mod folder;

pub use allocated::check_allocated;
pub use folder::{Folder, KINDS};
