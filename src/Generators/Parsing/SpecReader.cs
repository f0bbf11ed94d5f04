using System.Xml;
using System.Xml.Linq;
using Blkring.Generators.Diagnostics;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.Generators.Parsing;

/// <summary>
/// One reading, two outputs: a model without positions (null when anything is wrong) and diagnostics with them. Whoever
/// depends on the model alone does not notice a moved line. <paramref name="At"/>: the root element.
/// </summary>
internal sealed record SpecReading(ProtocolSpec? Spec, TextPosition At, EquatableArray<DiagnosticInfo> Problems);

internal static class SpecReader
{
    // A document type could pull in other files or expand without bound: no spec needs one.
    private static readonly XmlReaderSettings Settings = new()
    {
        DtdProcessing = DtdProcessing.Prohibit,
        XmlResolver = null,
    };

    /// <param name="checksRings">
    /// Whether the generator must be able to make the rings: not where layouts are only compared.
    /// </param>
    public static SpecReading Read(
        string path,
        SourceText? text,
        CancellationToken cancellation,
        bool checksRings = true
    )
    {
        var problems = new ProblemList(path, text ?? SourceText.From(""));
        XElement? root = ReadElement(text, problems);
        ProtocolSpec? spec = root is null ? null : new SpecParser(problems, cancellation).Parse(root);

        if (spec is not null && !problems.Any)
            Check(spec, problems, checksRings, cancellation);
        TextPosition at = root is null ? problems.Locate(1, 1) : problems.Locate(root);
        return new SpecReading(problems.Any ? null : spec, at, problems.ToArray());
    }

    private static XElement? ReadElement(SourceText? text, ProblemList problems)
    {
        if (text is null)
        {
            problems.Add(Descriptors.MalformedXml, problems.Locate(1, 1), "the file cannot be opened as text.");
            return null;
        }
        try
        {
            using var reader = XmlReader.Create(new StringReader(text.ToString()), Settings);
            return XDocument.Load(reader, LoadOptions.SetLineInfo).Root;
        }
        catch (XmlException error)
        {
            problems.Add(
                Descriptors.MalformedXml,
                problems.Locate(error.LineNumber, error.LinePosition),
                error.Message
            );
            return null;
        }
    }

    // Each check may rely on the ones before it: layouts need known types, rings need layouts.
    private static void Check(ProtocolSpec spec, ProblemList problems, bool checksRings, CancellationToken cancellation)
    {
        NameChecker.Check(spec, problems);
        if (problems.Any)
            return;
        TypeChecker.Check(spec, problems);
        cancellation.ThrowIfCancellationRequested();
        if (problems.Any)
            return;
        _ = checksRings ? LayoutCalculator.Calculate(spec, problems) : LayoutCalculator.CalculateTypes(spec, problems);
    }
}
