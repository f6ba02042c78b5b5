"""The search parameters that a scope may name, by resource type: those of FHIR R4 that narrow what is read.

Written by `python -m authserver.fhir.definitions.scope_table` from the table that the FHIR layer enforces with; change
that one. Composite and special parameters are not among them: no scope could be enforced by them.
"""

from collections.abc import Mapping

COMMON = frozenset("_id _lastUpdated _profile _security _source _tag".split())
"""Search parameters of every resource, the only ones that can narrow the wildcard.

No other name with an underscore is a filter: `_include` or `_sort` would change the answer, not narrow it.
"""


def defined(resource_type: str, name: str) -> bool:
    """Say whether R4 defines the search parameter for the type (`*`: for every type)."""
    return name in COMMON or name in _BY_TYPE.get(resource_type, frozenset())


def _read(table: str) -> Mapping[str, frozenset[str]]:
    rows = (line.partition(": ") for line in table.replace("\n  ", " ").strip().splitlines())
    return {resource_type: frozenset(names.split()) for resource_type, _, names in rows}


_BY_TYPE = _read("""
Account: identifier name owner patient period status subject type
ActivityDefinition: composed-of context context-quantity context-type date depends-on derived-from description
  effective identifier jurisdiction name predecessor publisher status successor title topic url version
AdverseEvent: actuality category date event location recorder resultingcondition seriousness severity study subject
  substance
AllergyIntolerance: asserter category clinical-status code criticality date identifier last-date manifestation onset
  patient recorder route severity type verification-status
Appointment: actor appointment-type based-on date identifier location part-status patient practitioner reason-code
  reason-reference service-category service-type slot specialty status supporting-info
AppointmentResponse: actor appointment identifier location part-status patient practitioner
AuditEvent: action address agent agent-name agent-role altid date entity entity-name entity-role entity-type outcome
  patient policy site source subtype type
Basic: author code created identifier patient subject
BodyStructure: identifier location morphology patient
Bundle: composition identifier message timestamp type
CapabilityStatement: context context-quantity context-type date description fhirversion format guide jurisdiction mode
  name publisher resource resource-profile security-service software status supported-profile title url version
CarePlan: activity-code activity-date activity-reference based-on care-team category condition date encounter goal
  identifier instantiates-canonical instantiates-uri intent part-of patient performer replaces status subject
CareTeam: category date encounter identifier participant patient status subject
ChargeItem: account code context entered-date enterer factor-override identifier occurrence patient performer-actor
  performer-function performing-organization price-override quantity requesting-organization service subject
ChargeItemDefinition: context context-quantity context-type date description effective identifier jurisdiction
  publisher status title url version
Claim: care-team created detail-udi encounter enterer facility identifier insurer item-udi patient payee priority
  procedure-udi provider status subdetail-udi use
ClaimResponse: created disposition identifier insurer outcome patient payment-date request requestor status use
ClinicalImpression: assessor date encounter finding-code finding-ref identifier investigation patient previous problem
  status subject supporting-info
CodeSystem: code content-mode context context-quantity context-type date description identifier jurisdiction language
  name publisher status supplements system title url version
Communication: based-on category encounter identifier instantiates-canonical instantiates-uri medium part-of patient
  received recipient sender sent status subject
CommunicationRequest: authored based-on category encounter group-identifier identifier medium occurrence patient
  priority recipient replaces requester sender status subject
CompartmentDefinition: code context context-quantity context-type date description name publisher resource status url
  version
Composition: attester author category confidentiality context date encounter entry identifier patient period
  related-id related-ref section status subject title type
ConceptMap: context context-quantity context-type date dependson description identifier jurisdiction name other
  product publisher source source-code source-system source-uri status target target-code target-system target-uri
  title url version
Condition: abatement-age abatement-date abatement-string asserter body-site category clinical-status code encounter
  evidence evidence-detail identifier onset-age onset-date onset-info patient recorded-date severity stage subject
  verification-status
Consent: action actor category consentor data date identifier organization patient period purpose scope security-label
  source-reference status
Contract: authority domain identifier instantiates issued patient signer status subject url
Coverage: beneficiary class-type class-value dependent identifier patient payor policy-holder status subscriber type
CoverageEligibilityRequest: created enterer facility identifier patient provider status
CoverageEligibilityResponse: created disposition identifier insurer outcome patient request requestor status
DetectedIssue: author code identified identifier implicated patient
Device: device-name identifier location manufacturer model organization patient status type udi-carrier udi-di url
DeviceDefinition: identifier parent type
DeviceMetric: category identifier parent source type
DeviceRequest: authored-on based-on code device encounter event-date group-identifier identifier
  instantiates-canonical instantiates-uri insurance intent patient performer prior-request requester status subject
DeviceUseStatement: device identifier patient subject
DiagnosticReport: based-on category code conclusion date encounter identifier issued media patient performer result
  results-interpreter specimen status subject
DocumentManifest: author created description identifier item patient recipient related-id related-ref source status
  subject type
DocumentReference: authenticator author category contenttype custodian date description encounter event facility
  format identifier language location patient period related relatesto relation security-label setting status subject
  type
EffectEvidenceSynthesis: context context-quantity context-type date description effective identifier jurisdiction name
  publisher status title url version
Encounter: account appointment based-on class date diagnosis episode-of-care identifier length location
  location-period part-of participant participant-type patient practitioner reason-code reason-reference
  service-provider special-arrangement status subject type
Endpoint: connection-type identifier name organization payload-type status
EnrollmentRequest: identifier patient status subject
EnrollmentResponse: identifier request status
EpisodeOfCare: care-manager condition date identifier incoming-referral organization patient status type
EventDefinition: composed-of context context-quantity context-type date depends-on derived-from description effective
  identifier jurisdiction name predecessor publisher status successor title topic url version
Evidence: composed-of context context-quantity context-type date depends-on derived-from description effective
  identifier jurisdiction name predecessor publisher status successor title topic url version
EvidenceVariable: composed-of context context-quantity context-type date depends-on derived-from description effective
  identifier jurisdiction name predecessor publisher status successor title topic url version
ExampleScenario: context context-quantity context-type date identifier jurisdiction name publisher status url version
ExplanationOfBenefit: care-team claim coverage created detail-udi disposition encounter enterer facility identifier
  item-udi patient payee procedure-udi provider status subdetail-udi
FamilyMemberHistory: code date identifier instantiates-canonical instantiates-uri patient relationship sex status
Flag: author date encounter identifier patient subject
Goal: achievement-status category identifier lifecycle-status patient start-date subject target-date
GraphDefinition: context context-quantity context-type date description jurisdiction name publisher start status url
  version
Group: actual characteristic code exclude identifier managing-entity member type value
GuidanceResponse: identifier patient request subject
HealthcareService: active characteristic coverage-area endpoint identifier location name organization program
  service-category service-type specialty
ImagingStudy: basedon bodysite dicom-class encounter endpoint identifier instance interpreter modality patient
  performer reason referrer series started status subject
Immunization: date identifier location lot-number manufacturer patient performer reaction reaction-date reason-code
  reason-reference series status status-reason target-disease vaccine-code
ImmunizationEvaluation: date dose-status identifier immunization-event patient status target-disease
ImmunizationRecommendation: date identifier information patient status support target-disease vaccine-type
ImplementationGuide: context context-quantity context-type date depends-on description experimental global
  jurisdiction name publisher resource status title url version
InsurancePlan: address address-city address-country address-postalcode address-state address-use administered-by
  endpoint identifier name owned-by phonetic status type
Invoice: account date identifier issuer participant participant-role patient recipient status subject totalgross
  totalnet type
Library: composed-of content-type context context-quantity context-type date depends-on derived-from description
  effective identifier jurisdiction name predecessor publisher status successor title topic type url version
Linkage: author item source
List: code date empty-reason encounter identifier item notes patient source status subject title
Location: address address-city address-country address-postalcode address-state address-use endpoint identifier name
  operational-status organization partof status type
Measure: composed-of context context-quantity context-type date depends-on derived-from description effective
  identifier jurisdiction name predecessor publisher status successor title topic url version
MeasureReport: date evaluated-resource identifier measure patient period reporter status subject
Media: based-on created device encounter identifier modality operator patient site status subject type view
Medication: code expiration-date form identifier ingredient ingredient-code lot-number manufacturer status
MedicationAdministration: code context device effective-time identifier medication patient performer reason-given
  reason-not-given request status subject
MedicationDispense: code context destination identifier medication patient performer prescription receiver
  responsibleparty status subject type whenhandedover whenprepared
MedicationKnowledge: classification classification-type code doseform ingredient ingredient-code manufacturer
  monitoring-program-name monitoring-program-type monograph monograph-type source-cost status
MedicationRequest: authoredon category code date encounter identifier intended-dispenser intended-performer
  intended-performertype intent medication patient priority requester status subject
MedicationStatement: category code context effective identifier medication part-of patient source status subject
MedicinalProduct: identifier name name-language
MedicinalProductAuthorization: country holder identifier status subject
MedicinalProductContraindication: subject
MedicinalProductIndication: subject
MedicinalProductInteraction: subject
MedicinalProductPackaged: identifier subject
MedicinalProductPharmaceutical: identifier route target-species
MedicinalProductUndesirableEffect: subject
MessageDefinition: category context context-quantity context-type date description event focus identifier jurisdiction
  name parent publisher status title url version
MessageHeader: author code destination destination-uri enterer event focus receiver response-id responsible sender
  source source-uri target
MolecularSequence: chromosome identifier patient referenceseqid type variant-end variant-start window-end window-start
NamingSystem: contact context context-quantity context-type date description id-type jurisdiction kind name period
  publisher responsible status telecom type value
NutritionOrder: additive datetime encounter formula identifier instantiates-canonical instantiates-uri oraldiet
  patient provider status supplement
Observation: based-on category code combo-code combo-data-absent-reason combo-value-concept combo-value-quantity
  component-code component-data-absent-reason component-value-concept component-value-quantity data-absent-reason date
  derived-from device encounter focus has-member identifier method part-of patient performer specimen status subject
  value-concept value-date value-quantity value-string
OperationDefinition: base code context context-quantity context-type date description input-profile instance
  jurisdiction kind name output-profile publisher status system title type url version
Organization: active address address-city address-country address-postalcode address-state address-use endpoint
  identifier name partof phonetic type
OrganizationAffiliation: active date email endpoint identifier location network participating-organization phone
  primary-organization role service specialty telecom
Patient: active address address-city address-country address-postalcode address-state address-use birthdate death-date
  deceased email family gender general-practitioner given identifier language link name organization phone phonetic
  telecom
PaymentNotice: created identifier payment-status provider request response status
PaymentReconciliation: created disposition identifier outcome payment-issuer request requestor status
Person: address address-city address-country address-postalcode address-state address-use birthdate email gender
  identifier link name organization patient phone phonetic practitioner relatedperson telecom
PlanDefinition: composed-of context context-quantity context-type date definition depends-on derived-from description
  effective identifier jurisdiction name predecessor publisher status successor title topic type url version
Practitioner: active address address-city address-country address-postalcode address-state address-use communication
  email family gender given identifier name phone phonetic telecom
PractitionerRole: active date email endpoint identifier location organization phone practitioner role service
  specialty telecom
Procedure: based-on category code date encounter identifier instantiates-canonical instantiates-uri location part-of
  patient performer reason-code reason-reference status subject
Provenance: agent agent-role agent-type entity location patient recorded signature-type target when
Questionnaire: code context context-quantity context-type date definition description effective identifier
  jurisdiction name publisher status subject-type title url version
QuestionnaireResponse: author authored based-on encounter identifier part-of patient questionnaire source status
  subject
RelatedPerson: active address address-city address-country address-postalcode address-state address-use birthdate
  email gender identifier name patient phone phonetic relationship telecom
RequestGroup: author authored code encounter group-identifier identifier instantiates-canonical instantiates-uri
  intent participant patient priority status subject
ResearchDefinition: composed-of context context-quantity context-type date depends-on derived-from description
  effective identifier jurisdiction name predecessor publisher status successor title topic url version
ResearchElementDefinition: composed-of context context-quantity context-type date depends-on derived-from description
  effective identifier jurisdiction name predecessor publisher status successor title topic url version
ResearchStudy: category date focus identifier keyword location partof principalinvestigator protocol site sponsor
  status title
ResearchSubject: date identifier individual patient status study
RiskAssessment: condition date encounter identifier method patient performer probability risk subject
RiskEvidenceSynthesis: context context-quantity context-type date description effective identifier jurisdiction name
  publisher status title url version
Schedule: active actor date identifier service-category service-type specialty
SearchParameter: base code component context context-quantity context-type date derived-from description jurisdiction
  name publisher status target type url version
ServiceRequest: authored based-on body-site category code encounter identifier instantiates-canonical instantiates-uri
  intent occurrence patient performer performer-type priority replaces requester requisition specimen status subject
Slot: appointment-type identifier schedule service-category service-type specialty start status
Specimen: accession bodysite collected collector container container-id identifier parent patient status subject type
SpecimenDefinition: container identifier type
StructureDefinition: abstract base base-path context context-quantity context-type date derivation description
  experimental ext-context identifier jurisdiction keyword kind name path publisher status title type url valueset
  version
StructureMap: context context-quantity context-type date description identifier jurisdiction name publisher status
  title url version
Subscription: contact criteria payload status type url
Substance: category code container-identifier expiry identifier quantity status substance-reference
SubstanceSpecification: code
SupplyDelivery: identifier patient receiver status supplier
SupplyRequest: category date identifier requester status subject supplier
Task: authored-on based-on business-status code encounter focus group-identifier identifier intent modified owner
  part-of patient performer period priority requester status subject
TerminologyCapabilities: context context-quantity context-type date description jurisdiction name publisher status
  title url version
TestReport: identifier issued participant result tester testscript
TestScript: context context-quantity context-type date description identifier jurisdiction name publisher status
  testscript-capability title url version
ValueSet: code context context-quantity context-type date description expansion identifier jurisdiction name publisher
  reference status title url version
VerificationResult: target
VisionPrescription: datewritten encounter identifier patient prescriber status
""")
