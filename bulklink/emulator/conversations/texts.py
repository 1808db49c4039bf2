"""Words of the languages that the people of a synthetic org write in."""

from __future__ import annotations

from dataclasses import dataclass

TOPICS = ("inquiry", "quote", "contract", "delivery", "invoice", "meeting")
"""What a conversation about a deal is about, in the order of the phrases of a language."""


@dataclass(frozen=True, slots=True)
class Language:
    """Words of a language.

    Args:
        first_names: first names.
        last_names: last names.
        reply: prefix of a reply, in a mail program of that language.
        forward: prefix of a forwarded email.
        legal_forms: what names of companies end with.
        sites: places.
        products: what deals are about.
        phrases: what subjects say of each of the `TOPICS`.
        short: subjects of one word.
        vague: subjects that say nothing.
        renewal: the word for a renewal.
        bulk: subjects of newsletters and of programs that send mail.
        invitations: subjects of calendars.
        private: subjects of private mail.
        office: subjects of mail on business that concerns no deal.
        summary: sentences that sum up an email; `{}` is what it is about.
    """

    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    reply: str
    forward: str
    legal_forms: tuple[str, ...]
    sites: tuple[str, ...]
    products: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    short: tuple[str, ...]
    vague: tuple[str, ...]
    renewal: str
    bulk: tuple[str, ...]
    invitations: tuple[str, ...]
    private: tuple[str, ...]
    office: tuple[str, ...]
    summary: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


_ENGLISH = Language(
    first_names=_words(
        "Emma|James|Olivia|Daniel|Priya|Samuel|Grace|Liam|Aisha|Peter|Hannah|Victor|Chloe|Owen"
    ),
    last_names=_words(
        "Hart|Okafor|Sullivan|Raman|Boyle|Turner|Whitfield|Mensah|Clarke|Iqbal|Dawson|Pike|Novak"
    ),
    reply="Re: ",
    forward="Fwd: ",
    legal_forms=_words("Ltd|Inc.|LLC|Group|& Sons"),
    sites=_words("Leeds|Austin|Denver|Bristol|Cork|Halifax|Portland|Reading|Tampa|York"),
    products=_words(
        "Fleet Insurance|Travel Insurance|Site Liability|Cargo Cover|Health Plan|Server Hosting|"
        "Backup Service|Network Audit|Forklift Lease|Spare Parts|Training Days|Cleaning Contract"
    ),
    phrases=(
        _words("Request for information|Inquiry|We are looking for a supplier|Your services"),
        _words("Quote, please|Our offer|Revised quote|Pricing|Your proposal"),
        _words("Signed contract|Terms and conditions|Draft agreement|Order confirmation"),
        _words("Delivery date|Start of the work|Documents you asked for|Open points"),
        _words("Invoice|Payment terms|Purchase order|Question about the invoice"),
        _words("Meeting next week|Call on Thursday|Minutes|Agenda"),
    ),
    short=_words("Hello|Question|Documents|Update|Signed|Tomorrow?|Thanks|Attachment"),
    vague=_words("Quick question|As discussed|Follow-up|Next steps|Some news|Our call today"),
    renewal="Renewal",
    bulk=_words(
        "Our newsletter in spring|10 trends you should know|Your ticket has been received|"
        "Webinar: register now|New price list|Delivery status notification|Your monthly statement"
    ),
    invitations=_words(
        "Invitation: Weekly catch-up|Accepted: Lunch|Updated invitation: Office visit|"
        "Declined: Weekly catch-up|Canceled: Coffee"
    ),
    private=_words(
        "Merry Christmas|Lunch on Friday?|Photos from Saturday|Congratulations!|Holiday"
    ),
    office=_words(
        "New bank details|Supplier questionnaire|Our new address|Privacy policy|"
        "Reference for your website|New colleague in our team"
    ),
    summary=_words("Asks about {}.|Sends papers on {}.|Wants a call about {}.|Agrees to {}."),
)

_GERMAN = Language(
    first_names=_words(
        "Anna|Lukas|Sabine|Jürgen|Petra|Felix|Käthe|Matthias|Nora|Stefan|Uwe|Miriam|Jonas"
    ),
    last_names=_words(
        "Müller|Brandt|Schäfer|Lindner|Vogt|Groß|Neumann|Köhler|Winter|Böhm|Hoffmann|Seidel"
    ),
    reply="AW: ",
    forward="WG: ",
    legal_forms=_words("GmbH|AG|KG|e. K.|GmbH & Co. KG"),
    sites=_words("Köln|Ulm|Leipzig|Bremen|Graz|Zürich|Fürth|Kassel|Mainz|Rostock"),
    products=_words(
        "Flottenversicherung|Reiseschutz|Betriebshaftpflicht|Wartungsvertrag|Gabelstapler Miete|"
        "Serverbetrieb|Datensicherung|Schulungstage|Ersatzteile|Netzwerkprüfung|Reinigung|Messestand"
    ),
    phrases=(
        _words("Anfrage|Bitte um Informationen|Ihre Leistungen|Wir suchen einen Lieferanten"),
        _words("Angebot|Unser Angebot|Überarbeitetes Angebot|Preise|Ihr Vorschlag"),
        _words("Unterschriebener Vertrag|Vertragsentwurf|Auftragsbestätigung|Konditionen"),
        _words("Liefertermin|Beginn der Arbeiten|Gewünschte Unterlagen|Offene Punkte"),
        _words("Rechnung|Zahlungsziel|Bestellung|Rückfrage zur Rechnung"),
        _words("Termin nächste Woche|Telefonat am Donnerstag|Protokoll|Tagesordnung"),
    ),
    short=_words("Hallo|Frage|Unterlagen|Update|Rückruf|Danke|Anhang|Morgen?"),
    vague=_words("Kurze Frage|Wie besprochen|Nachtrag|Nächste Schritte|Unser Telefonat"),
    renewal="Verlängerung",
    bulk=_words(
        "Unser Newsletter im Frühling|Ihre Anfrage ist eingegangen|Jetzt anmelden: Webinar|"
        "Neue Preisliste|Ihr Kontoauszug|Einladung zur Hausmesse"
    ),
    invitations=_words(
        "Einladung: Jour fixe|Zugesagt: Mittagessen|Abgesagt: Jour fixe|"
        "Aktualisiert: Besuch im Büro"
    ),
    private=_words("Frohe Weihnachten|Mittagessen am Freitag?|Bilder vom Samstag|Glückwunsch!"),
    office=_words(
        "Neue Bankverbindung|Lieferantenauskunft|Neue Anschrift|Datenschutz|Neue Ansprechpartnerin"
    ),
    summary=_words("Fragt nach {}.|Schickt Unterlagen zu {}.|Bittet um Rückruf wegen {}."),
)

_FRENCH = Language(
    first_names=_words(
        "Camille|Julien|Élodie|Mathieu|Inès|Gérard|Sophie|Noé|Hélène|Bastien|Aurélie|Luc"
    ),
    last_names=_words(
        "Lefèvre|Moreau|Garnier|Béranger|Dubois|Roussel|Fontaine|Mercier|Perrin|Chauvet|Girard"
    ),
    reply="RE: ",
    forward="TR: ",
    legal_forms=_words("SARL|SA|SAS|et Fils|EURL"),
    sites=_words("Lyon|Nîmes|Rennes|Lille|Genève|Liège|Angers|Dijon|Pau|Tours"),
    products=_words(
        "Assurance flotte|Assurance voyage|Responsabilité civile|Contrat d'entretien|"
        "Location chariots|Hébergement serveurs|Sauvegarde|Formation|"
        "Pièces détachées|Audit réseau|Nettoyage"
    ),
    phrases=(
        _words("Demande d'informations|Demande|Vos services|Nous cherchons un fournisseur"),
        _words("Devis|Notre offre|Devis révisé|Tarifs|Votre proposition"),
        _words("Contrat signé|Projet de contrat|Confirmation de commande|Conditions générales"),
        _words("Date de livraison|Début des travaux|Documents demandés|Points ouverts"),
        _words("Facture|Délai de paiement|Bon de commande|Question sur la facture"),
        _words("Réunion la semaine prochaine|Appel jeudi|Compte rendu|Ordre du jour"),
    ),
    short=_words("Bonjour|Question|Documents|Suivi|Merci|Demain ?|Signé"),
    vague=_words("Petite question|Comme convenu|Suite à notre appel|Prochaines étapes"),
    renewal="Renouvellement",
    bulk=_words(
        "Notre lettre d'information|Votre demande a bien été reçue|Inscrivez-vous au webinaire|"
        "Nouveau tarif|Votre relevé mensuel"
    ),
    invitations=_words("Invitation : Point hebdo|Accepté : Déjeuner|Annulé : Point hebdo"),
    private=_words("Joyeux Noël|Déjeuner vendredi ?|Photos de samedi|Félicitations !"),
    office=_words(
        "Nouveau RIB|Questionnaire fournisseur|Notre nouvelle adresse|Données personnelles"
    ),
    summary=_words("Pose une question sur {}.|Envoie des documents sur {}.|Souhaite parler de {}."),
)

_SPANISH = Language(
    first_names=_words("Lucía|Diego|Marta|Álvaro|Inés|Javier|Nuria|Íñigo|Pilar|Sergio|Belén|Tomás"),
    last_names=_words("Salas|García|Muñoz|Ibáñez|Ortega|Peña|Rivas|Núñez|Castro|Vidal|Lozano"),
    reply="RE: ",
    forward="RV: ",
    legal_forms=_words("S.L.|S.A.|e Hijos|S. Coop.|Grupo"),
    sites=_words("Málaga|Bogotá|León|Cádiz|Quito|Mérida|Gijón|Lima|Soria|Bilbao"),
    products=_words(
        "Seguro de flota|Seguro de viaje|Responsabilidad civil|Mantenimiento|"
        "Alquiler de carretillas|Alojamiento web|Copias de seguridad|Formación|"
        "Repuestos|Auditoría de red|Limpieza"
    ),
    phrases=(
        _words("Solicitud de información|Consulta|Sus servicios|Buscamos proveedor"),
        _words("Presupuesto|Nuestra oferta|Presupuesto revisado|Precios|Su propuesta"),
        _words("Contrato firmado|Borrador de contrato|Confirmación de pedido|Condiciones"),
        _words("Fecha de entrega|Inicio de los trabajos|Documentos solicitados|Temas pendientes"),
        _words("Factura|Plazo de pago|Orden de compra|Duda sobre la factura"),
        _words("Reunión la próxima semana|Llamada el jueves|Acta|Orden del día"),
    ),
    short=_words("Hola|Consulta|Documentos|Novedades|Firmado|Gracias|¿Mañana?"),
    vague=_words("Una pregunta|Según lo hablado|Seguimiento|Próximos pasos"),
    renewal="Renovación",
    bulk=_words(
        "Nuestro boletín|Hemos recibido su solicitud|Regístrese al seminario|Nueva lista de precios"
    ),
    invitations=_words("Invitación: Reunión semanal|Aceptado: Comida|Cancelado: Reunión semanal"),
    private=_words("Feliz Navidad|¿Comemos el viernes?|Fotos del sábado|¡Enhorabuena!"),
    office=_words("Nueva cuenta bancaria|Cuestionario de proveedores|Nueva dirección|Privacidad"),
    summary=_words("Pregunta por {}.|Envía documentos de {}.|Quiere hablar de {}."),
)

_ITALIAN = Language(
    first_names=_words("Giulia|Marco|Chiara|Luca|Niccolò|Elena|Paolo|Sara|Andrea|Bianca|Ettore"),
    last_names=_words("Rossi|Bianchi|Ferrari|Colombo|Greco|Conti|Gallo|Fontana|Moretti|D'Amico"),
    reply="R: ",
    forward="I: ",
    legal_forms=_words("S.r.l.|S.p.A.|& Figli|S.n.c.|Gruppo"),
    sites=_words("Torino|Bari|Lecco|Forlì|Trento|Siena|Parma|Udine|Lucca|Como"),
    products=_words(
        "Polizza flotta|Polizza viaggi|Responsabilità civile|Manutenzione|Noleggio carrelli|"
        "Hosting|Backup dati|Formazione|Ricambi|Verifica rete|Pulizie"
    ),
    phrases=(
        _words("Richiesta informazioni|Richiesta|I vostri servizi|Cerchiamo un fornitore"),
        _words("Preventivo|La nostra offerta|Preventivo aggiornato|Prezzi|La vostra proposta"),
        _words("Contratto firmato|Bozza di contratto|Conferma d'ordine|Condizioni"),
        _words("Data di consegna|Inizio lavori|Documenti richiesti|Punti aperti"),
        _words("Fattura|Termini di pagamento|Ordine d'acquisto|Domanda sulla fattura"),
        _words("Riunione la prossima settimana|Chiamata giovedì|Verbale|Ordine del giorno"),
    ),
    short=_words("Ciao|Domanda|Documenti|Aggiornamento|Firmato|Grazie|Domani?"),
    vague=_words("Una domanda|Come d'accordo|Prossimi passi|Dopo la nostra chiamata"),
    renewal="Rinnovo",
    bulk=_words("La nostra newsletter|Richiesta ricevuta|Iscriviti al webinar|Nuovo listino"),
    invitations=_words("Invito: Riunione settimanale|Accettato: Pranzo|Annullato: Riunione"),
    private=_words("Buon Natale|Pranzo venerdì?|Foto di sabato|Congratulazioni!"),
    office=_words("Nuovo IBAN|Questionario fornitori|Nuovo indirizzo|Privacy"),
    summary=_words("Chiede di {}.|Manda documenti su {}.|Vuole parlare di {}."),
)

_DUTCH = Language(
    first_names=_words("Sanne|Jeroen|Femke|Bram|Lotte|Ruben|Anouk|Daan|Maaike|Koen|Iris|Teun"),
    last_names=_words("de Vries|Jansen|Bakker|van Dijk|Visser|Smit|Mulder|Bos|Vermeer|Kuiper"),
    reply="Antw: ",
    forward="Fw: ",
    legal_forms=_words("B.V.|N.V.|V.O.F.|Groep|& Zonen"),
    sites=_words("Breda|Delft|Gent|Zwolle|Leuven|Arnhem|Assen|Tilburg|Venlo|Brugge"),
    products=_words(
        "Wagenparkverzekering|Reisverzekering|Aansprakelijkheid|Onderhoud|Heftruck huur|"
        "Serverbeheer|Back-updienst|Trainingsdagen|Onderdelen|Netwerkcontrole|Schoonmaak"
    ),
    phrases=(
        _words("Aanvraag|Verzoek om informatie|Uw diensten|Wij zoeken een leverancier"),
        _words("Offerte|Ons aanbod|Aangepaste offerte|Prijzen|Uw voorstel"),
        _words("Getekend contract|Concept overeenkomst|Orderbevestiging|Voorwaarden"),
        _words("Leverdatum|Start van het werk|Gevraagde stukken|Open punten"),
        _words("Factuur|Betaaltermijn|Inkooporder|Vraag over de factuur"),
        _words("Afspraak volgende week|Bellen donderdag|Notulen|Agenda"),
    ),
    short=_words("Hallo|Vraag|Stukken|Update|Getekend|Bedankt|Morgen?"),
    vague=_words("Korte vraag|Zoals besproken|Vervolg|Volgende stappen"),
    renewal="Verlenging",
    bulk=_words("Onze nieuwsbrief|Uw verzoek is ontvangen|Meld u aan: webinar|Nieuwe prijslijst"),
    invitations=_words("Uitnodiging: Weekoverleg|Geaccepteerd: Lunch|Afgezegd: Weekoverleg"),
    private=_words("Fijne feestdagen|Lunch vrijdag?|Foto's van zaterdag|Gefeliciteerd!"),
    office=_words("Nieuw rekeningnummer|Vragenlijst leveranciers|Nieuw adres|Privacyverklaring"),
    summary=_words("Vraagt naar {}.|Stuurt stukken over {}.|Wil bellen over {}."),
)

_POLISH = Language(
    first_names=_words("Agnieszka|Michał|Łukasz|Katarzyna|Paweł|Zofia|Grzegorz|Ewa|Marek|Iga"),
    last_names=_words("Nowak|Wiśniewski|Wójcik|Zając|Kowal|Dąbrowa|Szymczak|Król|Żak|Sęk|Lis"),
    reply="Odp: ",
    forward="PD: ",
    legal_forms=_words("Sp. z o.o.|S.A.|i Synowie|Sp. k.|Grupa"),
    sites=_words("Łódź|Gdynia|Kraków|Poznań|Toruń|Lublin|Opole|Radom|Kielce|Rzeszów"),
    products=_words(
        "Ubezpieczenie floty|Ubezpieczenie podróży|Serwis maszyn|Wynajem wózków|Hosting|"
        "Kopie zapasowe|Szkolenia|Części zamienne|Audyt sieci|Sprzątanie"
    ),
    phrases=(
        _words("Zapytanie|Prośba o informacje|Państwa usługi|Szukamy dostawcy"),
        _words("Oferta|Nasza oferta|Poprawiona oferta|Ceny|Państwa propozycja"),
        _words("Podpisana umowa|Projekt umowy|Potwierdzenie zamówienia|Warunki"),
        _words("Termin dostawy|Początek prac|Dokumenty|Otwarte punkty"),
        _words("Faktura|Termin płatności|Zamówienie|Pytanie o fakturę"),
        _words("Spotkanie w przyszłym tygodniu|Rozmowa w czwartek|Protokół|Porządek obrad"),
    ),
    short=_words("Witam|Pytanie|Dokumenty|Aktualizacja|Podpisane|Dziękuję|Jutro?"),
    vague=_words("Krótkie pytanie|Zgodnie z rozmową|Kolejne kroki|Po naszej rozmowie"),
    renewal="Odnowienie",
    bulk=_words("Nasz newsletter|Zgłoszenie przyjęte|Zapisz się na webinar|Nowy cennik"),
    invitations=_words("Zaproszenie: Spotkanie|Zaakceptowano: Obiad|Odwołano: Spotkanie"),
    private=_words("Wesołych Świąt|Obiad w piątek?|Zdjęcia z soboty|Gratulacje!"),
    office=_words("Nowe konto bankowe|Ankieta dostawcy|Nowy adres|Ochrona danych"),
    summary=_words("Pyta o {}.|Przesyła dokumenty: {}.|Chce porozmawiać: {}."),
)

_JAPANESE = Language(
    first_names=_words("美咲|健太|陽子|大輔|さくら|翔太|直美|拓也|恵子|一郎"),
    last_names=_words("佐藤|鈴木|高橋|田中|渡辺|伊藤|山本|中村|小林|加藤"),
    reply="RE: ",
    forward="FW: ",
    legal_forms=_words("株式会社|工業|商事|有限会社|グループ"),
    sites=_words("大阪|仙台|京都|福岡|札幌|神戸|奈良|広島|千葉|横浜"),
    products=_words(
        "車両保険|旅行保険|賠償責任保険|保守契約|フォークリフト|サーバー運用|"
        "バックアップ|研修|交換部品|ネットワーク診断|清掃契約"
    ),
    phrases=(
        _words("お問い合わせ|資料請求|サービスについて|ご相談"),
        _words("お見積り|見積書の件|見積り修正|価格について|ご提案"),
        _words("契約書|契約書案|注文確認|取引条件"),
        _words("納期について|作業開始日|資料送付|確認事項"),
        _words("請求書|お支払い条件|発注書|請求書の件"),
        _words("来週の打合せ|木曜日の電話|議事録|議題"),
    ),
    short=_words("ご確認|質問|資料|ご連絡|お礼|明日"),
    vague=_words("ご連絡の件|先日の件|今後の進め方|お電話の件"),
    renewal="更新",
    bulk=_words("メールマガジン|受付完了のお知らせ|セミナーのご案内|価格改定のお知らせ"),
    invitations=_words("招待: 定例会議|承諾: 昼食|中止: 定例会議"),
    private=_words("新年のご挨拶|金曜日のランチ|写真|おめでとうございます"),
    office=_words("振込先変更|取引先調査票|住所変更|個人情報保護方針"),
    summary=_words("{}について質問。|{}の資料を送付。|{}について電話を希望。"),
)

LANGUAGES = {
    "en": _ENGLISH,
    "de": _GERMAN,
    "fr": _FRENCH,
    "es": _SPANISH,
    "it": _ITALIAN,
    "nl": _DUTCH,
    "pl": _POLISH,
    "ja": _JAPANESE,
}
"""Languages by code."""

COMPANY_STEMS = _words(
    "Nord|Alpen|Blue|Delta|Terra|Vega|Quanta|Silver|Rhein|Atlas|Orion|Castor|Luma|Pine|Sol|"
    "Mari|Ferro|Hydro|Aero|Medi|Agri|Cargo|Urban|Granit|Opti|Veri|Kappa|Zenit|Polar|Lago|Monte|"
    "Crystal|Inter|Trans|Euro|Iber|Baltic|Omni|Nova|Prima"
)
"""First halves of the names of companies."""
COMPANY_ENDINGS = _words(
    "tech|werk|bau|food|plast|logic|soft|metal|print|pharma|care|trade|line|form|gard|stone|"
    "wood|glas|data|motor|textil|paper|power|clean|frost|craft|lab|point|media|systems|tools|"
    "parts|farm|yard|port|net|cell|wind|flow|mark"
)
"""Second halves of the names of companies."""
