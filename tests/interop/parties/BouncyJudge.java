import java.io.FileInputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.security.Security;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertificateFactory;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.PKIXRevocationChecker.Option;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Date;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.ocsp.OCSPObjectIdentifiers;
import org.bouncycastle.asn1.ocsp.RevokedInfo;
import org.bouncycastle.asn1.x509.CRLReason;
import org.bouncycastle.asn1.x509.ExtendedKeyUsage;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.Extensions;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cert.ocsp.BasicOCSPResp;
import org.bouncycastle.cert.ocsp.CertificateID;
import org.bouncycastle.cert.ocsp.CertificateStatus;
import org.bouncycastle.cert.ocsp.OCSPReq;
import org.bouncycastle.cert.ocsp.OCSPReqBuilder;
import org.bouncycastle.cert.ocsp.OCSPResp;
import org.bouncycastle.cert.ocsp.RevokedStatus;
import org.bouncycastle.cert.ocsp.SingleResp;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.operator.ContentVerifierProvider;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.bc.BcDigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.tsp.TimeStampRequest;
import org.bouncycastle.tsp.TimeStampResponse;
import org.bouncycastle.tsp.TimeStampToken;

/**
 * What Bouncy Castle makes of an OCSP answer or a time-stamp. Exit 0 for accepted, 1 for refused, with a line that says why.
 *   BouncyJudge ocsp ISSUING LEAF URL
 *   BouncyJudge stamp ROOT QUERY REPLY trust|revocation
 */
class BouncyJudge {
	static class Refused extends Exception {
		Refused(String why) {
			super(why);
		}
	}

	static void demand(boolean held, String otherwise) throws Refused {
		if (!held)
			throw new Refused(otherwise);
	}

	static X509CertificateHolder certificate(String path) throws Exception {
		try (PEMParser parser = new PEMParser(Files.newBufferedReader(Path.of(path)))) {
			return (X509CertificateHolder) parser.readObject();
		}
	}

	static boolean isFor(X509CertificateHolder holder, KeyPurposeId purpose) {
		ExtendedKeyUsage usage = ExtendedKeyUsage.fromExtensions(holder.getExtensions());
		return usage != null && usage.hasKeyPurposeId(purpose);
	}

	static ContentVerifierProvider verifier(X509CertificateHolder holder) throws Exception {
		return new JcaContentVerifierProviderBuilder().setProvider("BC").build(holder);
	}

	// ---- OCSP ----

	static byte[] post(String url, byte[] body) throws Exception {
		HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
		connection.setDoOutput(true);
		connection.setRequestProperty("Content-Type", "application/ocsp-request");
		connection.getOutputStream().write(body);
		return connection.getInputStream().readAllBytes();
	}

	static void responderMaySign(X509CertificateHolder responder, X509CertificateHolder issuing, Date at) throws Exception {
		demand(responder.getIssuer().equals(issuing.getSubject()) && responder.isSignatureValid(verifier(issuing)),
		       "the responder's certificate is not of this issuer");
		demand(isFor(responder, KeyPurposeId.id_kp_OCSPSigning), "the responder's certificate is not one for OCSP signing");
		demand(responder.isValidOn(at), "the responder's certificate is not valid now");
	}

	static String ocsp(X509CertificateHolder issuing, X509CertificateHolder leaf, String url) throws Exception {
		DigestCalculatorProvider digests = new BcDigestCalculatorProvider();
		CertificateID id = new CertificateID(digests.get(CertificateID.HASH_SHA1), issuing, leaf.getSerialNumber());
		Extension nonce = new Extension(OCSPObjectIdentifiers.id_pkix_ocsp_nonce, false,
						new DEROctetString(new DEROctetString(SecureRandom.getSeed(16)).getEncoded()));
		OCSPReq request = new OCSPReqBuilder().addRequest(id).setRequestExtensions(new Extensions(nonce)).build();
		OCSPResp response = new OCSPResp(post(url, request.getEncoded()));
		demand(response.getStatus() == OCSPResp.SUCCESSFUL, "the response status is " + response.getStatus());
		BasicOCSPResp basic = (BasicOCSPResp) response.getResponseObject();
		Date now = new Date();
		demand(basic.getCerts().length == 1, "the answer brings " + basic.getCerts().length + " certificates");
		demand(basic.isSignatureValid(verifier(basic.getCerts()[0])), "the signature of the answer is wrong");
		responderMaySign(basic.getCerts()[0], issuing, now);
		demand(nonce.equals(basic.getExtension(OCSPObjectIdentifiers.id_pkix_ocsp_nonce)), "the nonce is not ours");
		demand(basic.getResponses().length == 1, "the answer is not about one certificate");
		return status(basic.getResponses()[0], id, digests, now);
	}

	static String status(SingleResp single, CertificateID id, DigestCalculatorProvider digests, Date now) throws Exception {
		demand(single.getCertID().getSerialNumber().equals(id.getSerialNumber()) && single.getCertID().getHashAlgOID().equals(id.getHashAlgOID()),
		       "the answer is about another certificate");
		demand(!single.getThisUpdate().after(now) && single.getNextUpdate().after(now), "the answer is not of today");
		if (single.getCertStatus() instanceof RevokedStatus revoked)
			throw new Refused("revoked, reason " + (revoked.hasRevocationReason() ? CRLReason.lookup(revoked.getRevocationReason()) : "none"));
		demand(single.getCertStatus() == CertificateStatus.GOOD, "the certificate is unknown");
		return "good";
	}

	// ---- time-stamps ----

	@SuppressWarnings("unchecked") // Bouncy Castle's stores are not generic here
	static String stamp(X509CertificateHolder root, byte[] query, byte[] reply, boolean revocation) throws Exception {
		TimeStampResponse response = new TimeStampResponse(reply);
		response.validate(new TimeStampRequest(query));
		TimeStampToken token = response.getTimeStampToken();
		demand(token != null, "no token: " + response.getStatusString());
		Collection<X509CertificateHolder> units = token.getCertificates().getMatches(token.getSID());
		demand(units.size() == 1, "the token does not bring the unit's certificate");
		X509CertificateHolder unit = units.iterator().next();
		token.validate(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(unit));
		Collection<X509CertificateHolder> all = token.getCertificates().getMatches(null);
		unitIsTrusted(root, unit, all, revocation, token.getTimeStampInfo().getGenTime());
		return "granted " + token.getTimeStampInfo().getPolicy();
	}

	/** The path is the unit's certificate and those of the token that are above it; the validation is Java's. */
	static void unitIsTrusted(X509CertificateHolder root, X509CertificateHolder unit, Collection<X509CertificateHolder> all, boolean revocation,
				  Date at) throws Exception {
		JcaX509CertificateConverter converter = new JcaX509CertificateConverter();
		List<X509Certificate> path = new ArrayList<>();
		for (X509CertificateHolder next = unit; next != null; next = above(next, all))
			path.add(converter.getCertificate(next));
		CertPath certPath = CertificateFactory.getInstance("X.509").generateCertPath(path);
		CertPathValidator validator = CertPathValidator.getInstance("PKIX", "SUN");
		PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(converter.getCertificate(root), null)));
		parameters.setDate(revocation ? new Date() : at);
		parameters.setRevocationEnabled(revocation);
		if (revocation) {
			PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
			checker.setOptions(EnumSet.of(Option.NO_FALLBACK, Option.ONLY_END_ENTITY));
			parameters.addCertPathChecker(checker);
		}
		validator.validate(certPath, parameters);
	}

	static X509CertificateHolder above(X509CertificateHolder below, Collection<X509CertificateHolder> all) {
		for (X509CertificateHolder one : all)
			if (one.getSubject().equals(below.getIssuer()) && !one.equals(below))
				return one;
		return null;
	}

	public static void main(String[] a) {
		Security.addProvider(new BouncyCastleProvider());
		try {
			System.out.println("accepted: " + (a[0].equals("ocsp") ? ocsp(certificate(a[1]), certificate(a[2]), a[3])
									       : stamp(certificate(a[1]), Files.readAllBytes(Path.of(a[2])),
										       Files.readAllBytes(Path.of(a[3])), a[4].equals("revocation"))));
			System.exit(0);
		} catch (Exception refused) {
			System.out.println("refused: " + refused.getClass().getSimpleName() + " " + refused.getMessage());
			System.exit(1);
		}
	}
}
