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

    /// The files that were found at `path`.
    pub(crate) fn files<'a>(&'a self, path: &'a Path) -> Vec<&'a Path> {
        match self {
            Self::Pictures(paths) => paths.iter().map(PathBuf::as_path).collect(),
            Self::Named(_) | Self::Unnamed(..) => vec![path],
        }
    }

    /// The tensors under the names of a model's inputs.
    ///
    /// # Errors
    /// What has no name needs a model with one input; pictures need one that takes them; and those of
    /// [`Tensors::for_inputs`].
    pub(crate) fn named(self, graph: &Graph) -> Result<Tensors, Failure> {
        let (array, notes) = match self {
            Self::Named(tensors) => {
                let inputs: Vec<String> = graph.inputs.iter().map(|input| input.name.clone()).collect();
                return tensors.for_inputs(&inputs, "unknown_input");
            }
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

impl Tensors {
    /// Leaves out arrays that are no inputs, such as labels, with a note. Where an input is missing, such an array is
    /// taken for a misspelt input instead.
    ///
    /// # Errors
    /// `code` if there is an array that is no input while an input is missing.
    pub(crate) fn for_inputs(mut self, inputs: &[String], code: &'static str) -> Result<Self, Failure> {
        let missing: Vec<&String> = inputs.iter().filter(|input| !self.arrays.contains_key(*input)).collect();
        let strays: Vec<String> = self.arrays.keys().filter(|name| !inputs.contains(name)).cloned().collect();
        match (strays.as_slice(), missing.as_slice()) {
            ([], _) => {}
            (strays, []) => {
                let names = quoted(strays);
                self.notes.push(format!("ignored, because the model has no such input: {names}"));
            }
            (strays, [first, ..]) => {
                let (strays, missing) = (quoted(strays), quoted(&missing));
                let message = format!("the file has {strays}, but the model takes {missing}");
                let fix =
                    format!("did you mean {missing}? rename the array: numpy.savez(file, {first}=array)");
                return Err(Failure::input(code, message, fix));
            }
        }
        self.arrays.retain(|name, _| inputs.contains(name));
        Ok(self)
    }
}

/// Names in quotes, with commas.
fn quoted(names: &[impl std::fmt::Display]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use veracity_graph::ArrayData;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn tensors(names: &[&str]) -> Tensors {
        let array = || Array { shape: vec![0], data: ArrayData::F32(Vec::new()) };
        let arrays = names.iter().map(|name| ((*name).to_owned(), array())).collect();
        Tensors { arrays, notes: Vec::new() }
    }

    #[test]
    fn what_is_no_input_is_left_out_with_a_note() {
        let cases: [(&[&str], &[&str]); 3] = [
            (&["a", "b"], &[]),
            (&["a", "b", "label"], &["ignored, because the model has no such input: 'label'"]),
            (&["a", "b", "x", "y"], &["ignored, because the model has no such input: 'x', 'y'"]),
        ];
        for (found, notes) in cases {
            let fitted = tensors(found).for_inputs(&names(&["b", "a"]), "code").unwrap();
            assert_eq!(fitted.arrays.keys().collect::<Vec<_>>(), ["a", "b"]);
            assert_eq!(fitted.notes, notes);
        }
        // That an input is missing is said by who reads the request.
        assert!(tensors(&["a"]).for_inputs(&names(&["a", "b"]), "code").unwrap().notes.is_empty());
    }

    #[test]
    fn a_misspelt_input_is_refused_with_a_hint() {
        let failure = tensors(&["a", "imgae"]).for_inputs(&names(&["a", "image"]), "code").unwrap_err();
        let expected = "error[code]: the file has 'imgae', but the model takes 'image'\n  \
                        fix: did you mean 'image'? rename the array: numpy.savez(file, image=array)";
        assert_eq!(failure.to_string(), expected);
    }
}
