use std::fs;

use veracity_store::{Name, Removed, Store, StoreError};

use crate::fixture::bundle;

fn stored() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = store.put(&bundle(1), Some(b"{\"cosine\":1}")).unwrap();
    store.set_name(&"tiny".parse().unwrap(), &id).unwrap();
    (dir, store)
}

#[test]
fn every_flipped_byte_of_every_file_is_refused() {
    let (dir, store) = stored();
    let id = bundle(1).model_id();
    let model = dir.path().join("models").join(id.to_string());
    for file in ["manifest", "graph", "weights", "report"] {
        let path = model.join(file);
        let good = fs::read(&path).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            fs::write(&path, bad).unwrap();
            let error =
                if file == "report" { store.report(&id).unwrap_err() } else { store.get(&id).unwrap_err() };
            let StoreError::Corrupt { path: named, .. } = &error else {
                panic!("{file} byte {position}: {error}")
            };
            assert_eq!(*named, path);
        }
        for bad in [&good[..good.len() - 1], &[good.as_slice(), b"x"].concat(), b""] {
            fs::write(&path, bad).unwrap();
            let refused = if file == "report" { store.report(&id).is_err() } else { store.get(&id).is_err() };
            assert!(refused, "{file} with {} bytes", bad.len());
        }
        fs::write(&path, &good).unwrap();
        assert_eq!(store.get(&id).unwrap(), bundle(1));
    }
}

#[test]
fn damage_says_what_to_do_and_can_be_repaired() {
    let (dir, store) = stored();
    let id = bundle(1).model_id();
    let weights = dir.path().join("models").join(id.to_string()).join("weights");
    fs::remove_file(&weights).unwrap();
    let message = store.get(&id).unwrap_err().to_string();
    assert!(
        message.ends_with(
            "is corrupt: it is missing; remove the model with `veracity model rm` and import or pull it again"
        ),
        "{message}"
    );
    store.put(&bundle(1), None).unwrap();
    assert_eq!(store.get(&id).unwrap(), bundle(1));
    assert_eq!(store.resolve("tiny").unwrap(), id);
}

#[test]
fn a_damaged_model_hides_no_other_and_can_be_removed() {
    let (dir, store) = stored();
    let id = bundle(1).model_id();
    let other = store.put(&bundle(2), None).unwrap();
    fs::write(dir.path().join("models").join(id.to_string()).join("manifest"), b"x").unwrap();
    let entries = store.list().unwrap();
    assert_eq!(entries.iter().filter(|e| e.manifest.is_ok()).map(|e| e.id).collect::<Vec<_>>(), [other]);
    assert_eq!(entries.len(), 2);
    assert!(store.remove("tiny").unwrap().model);
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn a_name_without_its_model_is_refused_and_can_be_removed() {
    let (dir, store) = stored();
    let name: Name = "tiny".parse().unwrap();
    for bad in ["0".repeat(64) + "\n", bundle(1).model_id().to_string(), String::new()] {
        fs::write(dir.path().join("names/tiny"), &bad).unwrap();
        assert!(matches!(store.resolve("tiny"), Err(StoreError::Corrupt { .. })), "{bad:?}");
        assert_eq!(store.names().unwrap(), [], "{bad:?}");
        let damage = store.damaged_names().unwrap();
        assert!(
            matches!(damage.as_slice(), [StoreError::Corrupt { path, .. }] if path.ends_with("names/tiny"))
        );
        let removed = store.remove("tiny").unwrap();
        assert_eq!(removed, Removed { id: None, names: vec![name.clone()], model: false });
        assert!(matches!(store.resolve("tiny"), Err(StoreError::NotFound { .. })));
    }
    assert!(store.contains(&bundle(1).model_id()), "no model goes with it");
}

#[test]
fn references_are_names_ids_or_beginnings_of_ids() {
    let (_dir, store) = stored();
    let id = bundle(1).model_id();
    let digits = id.to_string();
    for reference in ["tiny", &digits, &digits[..8], &digits[..40]] {
        assert_eq!(store.resolve(reference).unwrap(), id, "{reference}");
    }
    assert_eq!(store.resolve_exact(&digits[..8]).unwrap(), None);
    for unknown in ["", "tin", "TINY", "../key", &digits[..7], &"0".repeat(64), &digits.to_uppercase()] {
        let error = store.resolve(unknown).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("no model '{unknown}' here; `veracity model ls` lists those that are")
        );
    }
}

#[test]
fn a_beginning_of_several_ids_is_refused() {
    let (dir, store) = stored();
    let twin = format!("{}{}", &bundle(1).model_id().to_string()[..60], "0000");
    fs::create_dir(dir.path().join("models").join(&twin)).unwrap();
    let error = store.resolve(&twin[..12]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("'{}' is the beginning of 2 model ids; give more digits", &twin[..12])
    );
}

#[test]
fn removing_a_name_keeps_a_model_that_has_another() {
    let (_dir, store) = stored();
    let id = bundle(1).model_id();
    store.set_name(&"other".parse().unwrap(), &id).unwrap();
    let removed = store.remove("tiny").unwrap();
    assert!(!removed.model);
    assert_eq!(removed.names, ["tiny".parse().unwrap()]);
    let removed = store.remove(&id.to_string()).unwrap();
    assert!(removed.model);
    assert_eq!(removed.names, ["other".parse().unwrap()]);
    assert!(matches!(store.get(&id), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.set_name(&"x".parse().unwrap(), &id), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.set_report(&id, b""), Err(StoreError::NotFound { .. })));
}

#[test]
fn another_folder_is_not_taken_for_a_store() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("VERSION"), "veracity store 9\nmore").unwrap();
    let message = Store::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("is not a store of this version: VERSION says 'veracity store 9'"), "{message}");
}
