-- The FHIR layer has a database of its own; the other one is made by the image.
CREATE DATABASE fhir OWNER authserver;
