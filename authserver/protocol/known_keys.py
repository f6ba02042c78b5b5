"""Keys whose private half everybody can read: the examples of specifications, test kits and test vectors.

By RFC 7638 thumbprint with the key's origin, so no key stands here. Whoever has one of them can sign as the client
that registered it (threat A08).
"""

from collections.abc import Mapping

PUBLICLY_KNOWN: Mapping[str, str] = {
    "IsUn6_e04MaShXFIISMp4kG62LWzMIPy_MvSA5pJgX8": "RFC 7515 appendix A.2",
    "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U": "RFC 7515 appendix A.3",
    "u5YUSjQ2-2chBi51NSk3t3g7IM4o2KYcnPqPtCNGd3U": "RFC 7515 appendix A.4",
    "xtIsOV1FqKH77AI_A3jdTg5QfdabzqI-LNpYTPi0IgI": "RFC 7516 appendix A.1",
    "_K0fXS8wlsT7Tn3vvZrs9qdKUIqi5AxQ5EVk41xi_BM": "RFC 7516 appendix A.2",
    "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s": "RFC 7517 appendix A.2 (EC)",
    "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": "RFC 7517 appendix A.2 (RSA)",
    "D8R4-FeTJfzuDUy8bZ0c4hcwpul-Q11gCPs3mw6-R9Q": "RFC 7517 appendix C",
    "qT5yKRo0isoECLGe0-hJJux4iMROawVfs8LFcQ2Aveo": "RFC 7518 appendix C (Alice)",
    "Vy57XrArUrW0NbpI12tEzDHABxMwrTh6HHXRenSpnCo": "RFC 7518 appendix C (Bob)",
    "dHri3SADZkrush5HU_50AoRhcKFryN-PI6jPBtPL55M": "RFC 7520 section 3.2",
    "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI": "RFC 7520 section 3.4",
    "h_jutvC-jg3Nwueq8LmdSybXykVsBwk4_5u5Y9JiS7E": "RFC 7520 section 5.1",
    "Rt-IyDEhXohvTl_ozKQ9YGflXGuDb3uu3QmqN2LoMwM": "RFC 7520 section 5.2",
    "YlKlB7M2wnS0cPn_V7OW-FuDLuWdJ9z4OvPHmhGDfeE": "RFC 7520 section 5.4",
    "HsSFalww3yP-dO-lWGYgFcyV5H22oScIFc4V2Y6GOto": "RFC 7520 section 5.5",
    "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k": "RFC 8037 appendix A.1",
    "I99tVmIhN2uhvx12lO4Zrjk9OhGDH6LvIyYALIZivws": "SMART App Launch implementation guide, sample RS384 key",
    "gpusNZnFRvG96B1APEttC6NcJetjhM0q2LJagnlW6Tc": "SMART App Launch implementation guide, sample ES384 key",
    "Q7fgcIzqt0bVAKsWaw_FyUFSDDpOTfsGdGtjJmAnzFY": "Inferno's default RS384 key",
    "RBFgQFFUIf4hfG8iUUZrf3vFZ_V2r3YRGPx9nKJXk5M": "Inferno's default ES384 key",
    "7tou2ukqbpFDE6m3nwVMDZ1JQcEMJJ3VXCLDQYz2gQM": "Inferno's OpenID key of the SMART client suites",
    "jtGSXJVYuZVE0cLF8m4OWz-gvUEtc1LxRfUd7fMBarg": "Wycheproof, kid-ec-sign",
    "L1CD4-qDpyE1E9gHzj5vjCjGJE-_cE15R7vJc42twog": "Wycheproof, kid-ec-sign",
    "N2LgK1ze4NM8YcoO-G7o5XTEOMyE6EZJmjmtoGrAW04": "Wycheproof, kid-ec-sign",
    "hKoe1YKmJxChuUJIUBuWgD3Kc_DtVa-vpjuCNmmDQh8": "Wycheproof, kid-rsa-sign",
    "eLx7cyKbcDMHSL_1LbVriUzfZG-p_W2rjxLJrg9teck": "Wycheproof, RS256_2048",
    "3Juhh9nCaGcKHSuwWnhh8919jBcpdja8op_RLoQt7ik": "Wycheproof, RS256_2048",
    "ZiLSoDuPfDc8rxPl05LxD9nV_EzK3XJ8t6qpTXJCtvw": "Wycheproof, RS384_2048",
    "RgVR5H6vvCLajavO3NKXafnQJXfbDa0gFBXhfKcyeMQ": "Wycheproof, RS512_2048",
    "zfyJgf2zoUydpctYAdg8JTMjGKGn5NLKDKURo1Ip-eI": "Wycheproof, rsa1_5",
    "e59bmbwk8PjLjUR56__eHxmfF6Qg6zrn1lnWa2vmyhI": "Wycheproof, rsa_oaep_256",
    "vrKoGfczRHox0NhQdBBwieFVn4_G_8hLybJ2AL21vGc": "PyJWT's test key P-256",
    "8AXhKGvc63Fy-4ictCXIcYW2XGE2V3Twfbr29IQDi5o": "PyJWT's test key P-384",
    "5V_IcL-iX5IbaNz9vg0CjXtWLZiJ94-ESnHI-HN1L2Y": "joserfc's test key Ed25519",
    "t3mhyuyM2_C20X8UXcdwmedVabkd-TJZLgLOmDRq-2g": "jwcrypto's test key RSA",
}
"""The thumbprint (SHA-256, base64url) of each key and where it was published."""
