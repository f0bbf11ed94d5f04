using System.Xml;
using System.Xml.Linq;
using Blkring.Generators.Diagnostics;
using Blkring.Generators.Model;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.Generators.Parsing;

/// <summary>
/// The two results of reading: a model without positions (null when there is a problem) and diagnostics with positions.
/// A step that depends on the model alone does not run again for a moved line. <paramref name="At"/>: the root element.
/// </summary>
internal sealed record SpecReading(ProtocolSpec? Spec, TextPosition At, EquatableArray<DiagnosticInfo> Problems);

internal static class SpecReader
{
    // A document type could include other files or expand without limit, and no spec needs one.
    private static readonly XmlReaderSettings Settings = new()
    {
        DtdProcessing = DtdProcessing.Prohibit,
        XmlResolver = null,
    };

    public static SpecReading Read(string path, SourceText? text, CancellationToken cancellation)
    {
        var problems = new ProblemList(path, text ?? SourceText.From(""));
        XElement? root = ReadElement(text, problems);
        ProtocolSpec? spec = root is null ? null : new SpecParser(problems, cancellation).Parse(root);

        if (spec is not null && !problems.Any)
            Check(spec, problems, cancellation);
        TextPosition at = root is null ? problems.Locate(1, 1) : problems.Locate(root);
        return new SpecReading(problems.Any ? null : spec, at, problems.ToArray());
    }

    /// <summary>
    /// Gives positions to problems that a later step found in the model of this text. Only a spec with problems is read
    /// for a second time: the model has no positions, so that a moved line changes nothing that depends on it.
    /// </summary>
    public static EquatableArray<DiagnosticInfo> Locate(
        string path,
        SourceText text,
        IEnumerable<PartProblem> found,
        CancellationToken cancellation
    )
    {
        var problems = new ProblemList(path, text);
        if (ReadElement(text, problems) is { } root && new SpecParser(problems, cancellation).Parse(root) is { } spec)
        {
            foreach (PartProblem problem in found)
                problems.Add(problem.Descriptor, problem.Part.In(spec), problem.Attribute, [.. problem.Arguments]);
        }
        return problems.ToArray();
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

    // Types are checked once the names are known to be distinct.
    private static void Check(ProtocolSpec spec, ProblemList problems, CancellationToken cancellation)
    {
        NameChecker.Check(spec, problems);
        if (problems.Any)
            return;
        TypeChecker.Check(spec, problems);
        cancellation.ThrowIfCancellationRequested();
    }
}
