//! The tensors that a user gives: an `.npz`, an `.npy`, a picture or a folder of pictures.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use veracity_graph::{Array, Graph};

use crate::{
    error::Failure,
    images::{self, ImagesError, Slot},
    npz::{self, Limits, NpzError, Tensors},
};

/// What a path holds, before it is known which model it is for.
#[derive(Debug)]
pub(crate) enum Given {
    /// An `.npz`: tensors with names.
    Named(Tensors),
    /// An `.npy`: one tensor without a name.
    Unnamed(Array, Vec<String>),
    /// Pictures, one sample each.
    Pictures(Vec<PathBuf>),
}

impl Given {
    /// Reads what `path` holds; pictures are only listed.
    ///
    /// # Errors
    /// A refusal that names the file, the tensor and the rule.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let metadata = std::fs::metadata(path).map_err(|e| Failure::read(path, &e))?;
        if metadata.is_dir() {
            return images::list(path).map(Self::Pictures).map_err(|e| images_failure(&e).about(path));
        }
        if images::is_picture(path) {
            return Ok(Self::Pictures(vec![path.to_owned()]));
        }
        let mut tensors = npz::read(path, Limits::default()).map_err(|e| npz_failure(path, &e))?;
        Ok(match tensors.arrays.remove("") {
            Some(array) => Self::Unnamed(array, tensors.notes),
            None => Self::Named(tensors),
        })
    }

    /// The tensors under the names of a model's inputs.
    ///
    /// # Errors
    /// What has no name needs a model with one input; pictures need one that takes them.
    pub(crate) fn named(self, graph: &Graph) -> Result<Tensors, Failure> {
        let (array, notes) = match self {
            Self::Named(tensors) => return Ok(tensors),
            Self::Unnamed(array, notes) => (array, notes),
            Self::Pictures(paths) => {
                let input = sole_input(graph)?;
                let slot = Slot { name: &input.name, dims: &input.dims, shape: &graph.shape_text(input) };
                (images::read(&paths, slot).map_err(|e| images_failure(&e))?, Vec::new())
            }
        };
        Ok(Tensors { arrays: BTreeMap::from([(sole_input(graph)?.name.clone(), array)]), notes })
    }
}

fn sole_input(graph: &Graph) -> Result<&veracity_graph::Input, Failure> {
    match graph.inputs.as_slice() {
        [input] => Ok(input),
        inputs => {
            let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
            let message = format!(
                "the model has {} inputs ({}), the file has no names",
                inputs.len(),
                names.join(", ")
            );
            Err(Failure::input(
                "input_unnamed",
                message,
                "write them to one .npz: numpy.savez(file, name=array, ..)",
            ))
        }
    }
}

fn images_failure(error: &ImagesError) -> Failure {
    Failure::input(error.code(), error, error.fix())
}

/// A refusal of a NumPy file.
pub(crate) fn npz_failure(path: &Path, error: &NpzError) -> Failure {
    match error {
        NpzError::Io(error) => Failure::read(path, error),
        _ => Failure::input(error.code(), error, error.fix()).about(path),
    }
}
