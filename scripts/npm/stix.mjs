// Holds the STIX 2.1 bundle on standard input against MITRE's ATT&CK data model
// and prints what that complains of, a line each. The model is made for ATT&CK's
// own bundles: what it asks for beyond STIX 2.1, and what of STIX it leaves out,
// is passed over here, and nothing else.
import { readFileSync } from "node:fs";
import * as model from "@mitre-attack/attack-data-model";

const ofType = {
  identity: model.identitySchema,
  campaign: model.campaignSchema,
  "attack-pattern": model.techniqueSchema,
  relationship: model.relationshipSchema,
};
const relations = ["relationship", "sighting"];
const absentInATTACK = ["threat-actor", "sighting"];
const alwaysInATTACK = ["object_marking_refs", "external_references", "aliases", "revoked"];
const optionalInSTIX = ["start_time", "stop_time"];

// beyondSTIX reports whether a complaint about an object is about ATT&CK only.
function beyondSTIX(object, issue) {
  const name = String(issue.path[0] ?? "");
  const absent = (text) => absentInATTACK.includes(String(text).split("--")[0]);
  return (
    name.startsWith("x_mitre_") ||
    (alwaysInATTACK.includes(name) && object[name] === undefined) ||
    (issue.code === "unrecognized_keys" && issue.path.length === 0 && issue.keys.every((key) => optionalInSTIX.includes(key))) ||
    (["type", "id", "source_ref"].includes(name) && absent(object[name]))
  );
}

// foreign reports whether an object is a technique of somebody else's.
function foreign(object) {
  return object.type === "attack-pattern" && object.external_references?.[0]?.source_name === "ttp-worker";
}

// complaints returns what is wrong with an object.
function complaints(object) {
  const common = relations.includes(object.type) ? model.stixRelationshipObjectSchema : model.stixDomainObjectSchema;
  const schemas = [common.loose(), foreign(object) ? null : ofType[object.type]].filter(Boolean);
  const issues = schemas.flatMap((schema) => schema.safeParse(object).error?.issues ?? []);
  return issues.filter((issue) => !beyondSTIX(object, issue)).map((issue) => `${object.id}: ${issue.path.join(".")}: ${issue.message}`);
}

const bundle = JSON.parse(readFileSync(0, "utf8"));
const wrong = bundle.objects.flatMap(complaints);
if (bundle.type !== "bundle" || !/^bundle--/.test(bundle.id)) wrong.push("not a bundle");
console.log(wrong.join("\n"));
process.exitCode = wrong.length ? 1 : 0;
