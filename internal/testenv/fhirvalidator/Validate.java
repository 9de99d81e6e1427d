import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.SingleValidationMessage;
import ca.uhn.fhir.validation.ValidationResult;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r4.model.StructureDefinition;
import org.hl7.fhir.r4.model.CodeSystem;

/**
 * Validates FHIR R4 resources, one a line on standard input, with HL7's validator, and the profiles and code systems
 * that are named as arguments. For each it prints a line: a JSON array of issues with severity, location and message.
 * It uses no network.
 */
public final class Validate {
  public static void main(String[] args) throws Exception {
    FhirContext fhir = FhirContext.forR4();
    PrePopulatedValidationSupport own = new PrePopulatedValidationSupport(fhir);
    for (String arg : args) {
      String text = Files.readString(Path.of(arg));
      if (text.contains("\"CodeSystem\"")) {
        own.addCodeSystem(fhir.newJsonParser().parseResource(CodeSystem.class, text));
      } else {
        own.addStructureDefinition(fhir.newJsonParser().parseResource(StructureDefinition.class, text));
      }
    }
    ValidationSupportChain chain = new ValidationSupportChain(new DefaultProfileValidationSupport(fhir), own,
        new CommonCodeSystemsTerminologyService(fhir), new InMemoryTerminologyServerValidationSupport(fhir),
        new SnapshotGeneratingValidationSupport(fhir));
    FhirInstanceValidator instance = new FhirInstanceValidator(chain);
    instance.setErrorForUnknownProfiles(true);
    instance.setAnyExtensionsAllowed(false);
    FhirValidator validator = fhir.newValidator().registerValidatorModule(instance);

    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintWriter out = new PrintWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8), true);
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      ValidationResult result = validator.validateWithResult(line);
      JsonArray issues = new JsonArray();
      for (SingleValidationMessage m : result.getMessages()) {
        JsonObject issue = new JsonObject();
        issue.addProperty("severity", m.getSeverity().getCode());
        issue.addProperty("location", m.getLocationString());
        issue.addProperty("message", m.getMessage());
        issues.add(issue);
      }
      out.println(issues);
    }
  }

  private Validate() {}
}
