//! The demo, as a newcomer sees it.

use crate::home::Home;

#[test]
fn the_demo_verifies_the_honest_answer_and_refuses_five_lies() {
    let home = Home::new();
    let done = home.run(&["demo"]).ok();
    let trimmed: Vec<&str> = done.stdout.lines().map(str::trim).collect();
    for start in [
        "PASS  signature",
        "PASS  execution",
        "PASS  final",
        "PASS  anchored",
        "anchored in block ",
        "VERIFIED",
        "FAIL  response",
        "FAIL  signature",
        "FAIL  execution",
        "FAIL  anchored",
        "FAIL  final",
    ] {
        assert!(trimmed.iter().any(|line| line.starts_with(start)), "no line '{start}' in:\n{}", done.stdout);
    }
    assert_eq!(trimmed.iter().filter(|line| line.starts_with("NOT VERIFIED")).count(), 5, "{}", done.stdout);
    let wide: Vec<&str> = done.stdout.lines().filter(|line| line.len() > 80).collect();
    assert!(wide.is_empty(), "{wide:?}");
    assert!(done.stderr.is_empty(), "{}", done.stderr);
    assert!(!home.path("data").exists(), "the demo leaves nothing behind");
}

#[test]
fn the_demo_in_json() {
    let json = Home::new().run(&["demo", "--json"]).ok().json();
    assert_eq!(json["question"]["answer"], json["question"]["label"]);
    assert_eq!(json["judgement"]["verified"], true);
    assert!(json["anchored"]["block"].as_u64().unwrap() > 0, "{json}");
    assert_eq!(json["network_key"].as_str().unwrap().len(), 192);
    let cheats = json["cheats"].as_array().unwrap();
    let failed: Vec<&str> = cheats.iter().map(|c| c["judgement"]["failed"][0].as_str().unwrap()).collect();
    assert_eq!(failed, ["response", "signature", "execution", "anchored", "final"]);
    for score in json["held_out"].as_array().unwrap() {
        let (right, total) = (score["right"].as_u64().unwrap(), score["total"].as_u64().unwrap());
        assert!(right * 100 >= total * 97, "{score}");
        let share = |key: &str| score[key].as_f64().unwrap();
        assert!(share("f32_agreement") >= 0.99 && share("f32_cosine") >= 0.999, "{score}");
    }
}
