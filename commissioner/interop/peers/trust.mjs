// Writes what vouches for matter.js's devices, for gatehouse trust import DIR
// --test: the test root of attestation and the test signer of declarations.
//
//     node trust.mjs DIR
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CertificationDeclaration, TestCert_PAA_NoVID_Cert } from "@matter/main/protocol";

const dir = process.argv[2];
mkdirSync(dir, { recursive: true });
writeFileSync(join(dir, "test-paa.der"), new Uint8Array(TestCert_PAA_NoVID_Cert));
writeFileSync(join(dir, "test-cd-signer.der"), new Uint8Array(CertificationDeclaration.testSignerCertificate()));
