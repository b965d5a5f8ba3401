import java.io.FileInputStream;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateFactory;
import java.security.cert.CertificateRevokedException;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.PKIXRevocationChecker.Option;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** Java's own path validation, asked about one certificate: PkixJudge ocsp|crl ROOT ISSUING LEAF. Exit 0 for accepted, 1 for refused. */
class PkixJudge {
	public static void main(String[] arguments) throws Exception {
		CertificateFactory factory = CertificateFactory.getInstance("X.509");
		X509Certificate[] read = new X509Certificate[3];
		for (int i = 0; i < 3; i++)
			try (FileInputStream in = new FileInputStream(arguments[i + 1])) {
				read[i] = (X509Certificate) factory.generateCertificate(in);
			}
		CertPathValidator validator = CertPathValidator.getInstance("PKIX");
		PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
		// Nothing falls back to anything. The root answers no OCSP, so OCSP is for the leaf; the CRLs are checked of the whole path.
		checker.setOptions(arguments[0].equals("ocsp") ? EnumSet.of(Option.NO_FALLBACK, Option.ONLY_END_ENTITY)
							       : EnumSet.of(Option.NO_FALLBACK, Option.PREFER_CRLS));
		PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(read[0], null)));
		parameters.addCertPathChecker(checker);
		try {
			validator.validate(factory.generateCertPath(List.of(read[2], read[1])), parameters);
		} catch (CertPathValidatorException refused) {
			String why = refused.getCause() instanceof CertificateRevokedException revoked ? revoked.getRevocationReason().toString() : "";
			System.out.println("refused: " + refused.getReason() + " " + why + " " + refused.getMessage());
			System.exit(1);
		}
		System.out.println("accepted, soft failures " + checker.getSoftFailExceptions());
		System.exit(checker.getSoftFailExceptions().isEmpty() ? 0 : 1);
	}
}
